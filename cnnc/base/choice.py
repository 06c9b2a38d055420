"""What may be chosen for a layer, as plain data: an algorithm and its sizes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from hashlib import sha256

from cnnc.base.errors import UserError, fail
from cnnc.base.record import record
from cnnc.base.source import Span

KEY_LENGTH = 16
_WORD = r"[a-z_]+"
_SIZE = re.compile(rf"({_WORD})(?:=([1-9]\d{{0,8}}(?:x[1-9]\d{{0,8}}){{0,7}}))?")


@record
class Choice:
    """An algorithm and its sizes by name, in order: `direct tile=2x1x14 rows_first`.

    A name without numbers is a flag.
    """

    algorithm: str
    sizes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def __str__(self) -> str:
        parts = [self.algorithm]
        for name, numbers in self.sizes:
            parts.append(f"{name}={'x'.join(map(str, numbers))}" if numbers else name)
        return " ".join(parts)

    @staticmethod
    def parse(text: str) -> "Choice":
        """The choice that prints as this text; ValueError where none does."""
        algorithm, *parts = text.split(" ")
        found = [_SIZE.fullmatch(part) for part in parts]
        names = [match[1] for match in found if match]
        known = re.fullmatch(_WORD, algorithm) and len(set(names)) == len(parts)
        if not known:
            raise ValueError(f"`{text}` is no choice")
        numbers = [match[2] for match in found if match]
        sizes = (tuple(map(int, each.split("x"))) if each else () for each in numbers)
        return Choice(algorithm, tuple(zip(names, sizes, strict=True)))


@record
class Chosen:
    """A choice, and where somebody wrote it."""

    choice: Choice
    span: Span | None = None

    def refuse(self, layer: str, why: str) -> UserError:
        """To raise where the choice does not fit the layer whose key it stands under."""
        return fail(
            "E0805",
            f"`{self.choice}` is not possible for the layer `{layer}`",
            self.span,
            label=why,
            help="`cnnc tune` with this file measures the layer again",
        )


@record
class Choices:
    """What was chosen for layers, by their keys; layers that have no entry are estimated.

    `facts` is what all keys depend on beside the layer: the target, and what is allowed. `source`
    names the file they come from.
    """

    entries: Mapping[str, Chosen] = field(default_factory=dict)
    facts: str = ""
    source: str = ""

    def key(self, label: str, operands: Iterable[str]) -> str:
        """The key of a layer: a hash of all that a choice for it depends on."""
        text = "\n".join((self.facts, label, *operands))
        return sha256(text.encode()).hexdigest()[:KEY_LENGTH]

    def find(self, label: str, operands: Iterable[str]) -> Chosen | None:
        """What was chosen for a layer, or None."""
        return self.entries.get(self.key(label, operands)) if self.entries else None


ESTIMATED = Choices()
"""Nothing was chosen: estimates decide."""
