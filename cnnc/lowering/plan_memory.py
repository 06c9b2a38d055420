"""One arena for all intermediate tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnnc.loop.kernel import align


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor in the arena: its bytes, the step that writes it and the last one that reads it.

    `reuses` names a value whose memory this one may take over although both are alive in step
    `first`: the step reads each of its elements before it writes the same element.
    """

    name: str
    bytes: int
    first: int
    last: int
    reuses: tuple[str, ...] = ()


def plan_memory(values: Sequence[Value]) -> tuple[Mapping[str, int], int]:
    """Byte offset of every value, and the size of the arena.

    Two values overlap in memory only if they are never alive together, or one takes over the
    other's place whole. Largest first, each at the lowest offset that is free while it lives
    (greedy by size, as in Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
    Inference", 2020).
    """
    groups = _merge_in_place(values)
    placed: list[tuple[int, int, _Group]] = []
    for group in sorted(groups, key=lambda g: (-g.bytes, g.first, g.names[0])):
        size = align(group.bytes)
        busy = sorted(
            (start, end)
            for start, end, other in placed
            if not (other.last < group.first or group.last < other.first)
        )
        offset = 0
        for start, end in busy:
            if offset + size <= start:
                break
            offset = max(offset, end)
        placed.append((offset, offset + size, group))
    offsets = {name: start for start, _, group in placed for name in group.names}
    return offsets, max((end for _, end, _ in placed), default=0)


@dataclass(slots=True)
class _Group:
    """Values that share one place, one after the other."""

    names: list[str]
    bytes: int
    first: int
    last: int


def _merge_in_place(values: Sequence[Value]) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for value in sorted(values, key=lambda v: v.first):
        for candidate in value.reuses:
            group = groups.get(candidate)
            if group and group.last == value.first and group.bytes == value.bytes:
                group.names.append(value.name)
                group.last = value.last
                groups[value.name] = group
                break
        else:
            groups[value.name] = _Group([value.name], value.bytes, value.first, value.last)
    return list({id(group): group for group in groups.values()}.values())
