"""Names in C."""

import re

from cnnc.backends.abi import TAKEN

_USED = frozenset(
    {"scratch", "task", "share", "in", "out", "index_max", "index_min", "sample", "even"}
)
"""Names that functions use for themselves."""
_BUILTIN = frozenset({"exp", "log", "tanh", "erf", "pow", "sqrt", "abs", "j0", "j1", "y0", "y1"})
"""Functions of C that compilers know, though nothing is included that declares them."""


class Names:
    """Identifiers of one function, block in block: a name is free again behind its block."""

    def __init__(self) -> None:
        self._taken: list[set[str]] = [{*TAKEN, *_USED, *_BUILTIN}]

    @property
    def depth(self) -> int:
        """How many blocks are open."""
        return len(self._taken) - 1

    def open(self) -> None:
        """Begin a block."""
        self._taken.append(set())

    def close(self) -> None:
        """End the innermost block."""
        self._taken.pop()

    def new(self, name: str, depth: int = -1) -> str:
        """A name like this one, for an open block, that no open block has: `oh.0` is `oh_0`."""
        plain = identifier(name)
        found, number = plain, 1
        while any(found in taken for taken in self._taken):
            number += 1
            found = f"{plain}_{number}"
        self._taken[depth].add(found)
        return found


def identifier(name: str) -> str:
    """The name with what C does not allow replaced."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if plain[:1].isalpha() else f"x{plain}"
