"""Runs of equal parts → `repeat`."""

from collections.abc import Sequence

from cnnc.onnx.reroll.tree import (
    Call,
    Chain,
    Item,
    Repeat,
    Use,
    change_holes,
    labels,
    leaf,
    refers,
    size,
)

LONGEST = 12
"""Items of a part that may be repeated."""
BEGINS = frozenset({"conv", "conv_transpose", "dense", "unshared", "batchnorm"})
"""Operators that parts begin with."""


def collapse(chain: Chain) -> Chain:
    """The pipeline with its runs as repetitions; the shortest part that repeats counts."""
    bare = [change_holes((item,), lambda name, value: value, lambda label: None) for item in chain]
    made: list[Item] = []
    start = 0
    while start < len(chain):
        period, count = _run(bare, start)
        if count < 2 or refers(chain[start : start + period]):
            made.append(chain[start])
            start += 1
            continue
        for _ in range(_turns(bare, start, period, count)):
            made.append(chain[start])
            start += 1
        parts = [chain[start + each * period :][:period] for each in range(count)]
        made.append(Repeat(count, _agreed(parts)))
        start += period * count
    return tuple(made)


def _run(bare: Sequence[Chain], start: int) -> tuple[int, int]:
    """How long the part is that repeats from here on, and how often it stands there."""
    for period in range(1, min(LONGEST, (len(bare) - start) // 2) + 1):
        part, count = bare[start : start + period], 1
        while bare[start + count * period :][:period] == part:
            count += 1
        words = sum(map(size, part))
        if (count > 1 and (count - 1) * words >= 2) or (count > 1 and _is_use(part)):
            return period, count
    return 1, 1


def _turns(bare: Sequence[Chain], start: int, period: int, count: int) -> int:
    """How many items to leave before a run that goes on behind its end, so that it begins well.

    A part begins with what has weights or branches, where it can, and ends with an activation.
    """
    for turns in range(period):
        last = start + turns + period * count
        if turns and bare[last - 1 : last] != bare[start + turns - 1 : start + turns]:
            return 0
        (first,) = bare[start + turns]
        if not isinstance(first, Call) or first.op in BEGINS:
            return turns
    return 0


def _is_use(part: Sequence[Chain]) -> bool:
    return any(isinstance(item, Use) for chain in part for item in chain)


def _agreed(parts: Sequence[Chain]) -> Chain:
    """The part with the labels that all copies have."""
    rows = zip(*([*map(leaf, labels(part))] for part in parts), strict=True)
    kept = iter([row[0] if len({*row}) == 1 else None for row in rows])
    return change_holes(parts[0], lambda name, value: value, lambda label: next(kept))
