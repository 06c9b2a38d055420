"""What became of graphs: which nodes cnnc runs, and which fell back to torch, and why."""

import logging
import sys
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from threading import Lock
from types import FrameType

from cnnc.base.record import record
from cnnc.table import plural

LOG = logging.getLogger("cnnc.torch")
MOST_KEPT = 256
"""Graphs that are remembered."""
MOST_SHOWN = 5
"""Reasons that a warning lists, and operators for one reason."""


class FallbackWarning(UserWarning):
    """Parts of a network run in torch, not in cnnc."""


@record
class Fallen:
    """A node that torch runs: its name in the graph, its operator, and why."""

    node: str
    operator: str
    why: str


def operator_name(target: object) -> str:
    """What a node calls, in short: `aten.relu.default`, `conv2d`."""
    return str(getattr(target, "__name__", target)) if callable(target) else str(target)


@record
class Part:
    """One graph: how many nodes run as how many nets of cnnc, and which do not."""

    name: str
    taken: int
    nets: int
    fallen: tuple[Fallen, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  {line}" for line in _reasons(self.fallen))])

    @property
    def summary(self) -> str:
        """One line."""
        taken = f"{plural(self.taken, 'node')} in {plural(self.nets, 'net')} of cnnc"
        return f"{self.name}: {taken}, {len(self.fallen)} in torch"


@record
class Report:
    """The graphs compiled so far, in order; as text, a line for each and for each reason."""

    parts: tuple[Part, ...]

    @property
    def fallen(self) -> tuple[Fallen, ...]:
        """All nodes that torch runs."""
        return tuple(each for part in self.parts for each in part.fallen)

    def __str__(self) -> str:
        return "\n".join(map(str, self.parts)) or "nothing has been compiled"


def _reasons(fallen: Sequence[Fallen]) -> list[str]:
    """Reasons and the operators they are given for, the most frequent first."""
    by_reason: dict[str, Counter[str]] = {}
    for each in fallen:
        by_reason.setdefault(each.why, Counter())[each.operator] += 1
    lines = []
    for why, operators in sorted(by_reason.items(), key=lambda pair: -pair[1].total()):
        shown = [
            f"{name} ({count} times)" if count > 1 else name
            for name, count in operators.most_common(MOST_SHOWN)
        ]
        more = [f"{len(operators) - MOST_SHOWN} more"] if len(operators) > MOST_SHOWN else []
        lines.append(f"{', '.join([*shown, *more])}: {why}")
    return lines


_PARTS: deque[Part] = deque(maxlen=MOST_KEPT)
_LOCK = Lock()


def report(*, clear: bool = False) -> Report:
    """What became of the graphs that were compiled in this process; `clear` forgets them."""
    with _LOCK:
        found = Report((*_PARTS,))
        if clear:
            _PARTS.clear()
    return found


def note(part: Part) -> None:
    """Remember what became of a graph, log it, and warn where some of it fell back."""
    with _LOCK:
        _PARTS.append(part)
    LOG.info("%s", part)
    if part.fallen:
        reasons = _reasons(part.fallen)
        more = [f"{len(reasons) - MOST_SHOWN} more reasons"] if len(reasons) > MOST_SHOWN else []
        lines = "\n  ".join([part.summary, *reasons[:MOST_SHOWN], *more])
        text = f"{lines}\n  cnnc.torch.report() lists all of them"
        warnings.warn(text, FallbackWarning, stacklevel=_outside())


def _outside() -> int:
    """The `stacklevel` of a warning at which the user's code calls: no frame of cnnc or torch."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_inner(frame):
        level, frame = level + 1, frame.f_back
    return level


def _is_inner(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("cnnc", "torch")
