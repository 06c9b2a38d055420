"""One arena for all intermediate tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnnc.lowering.packing import Block, Piece, bound, pack


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


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Byte offset of every value, and the size of the arena.

    `bound` is what is alive in the step that needs most, and so the least for this order of steps.
    """

    offsets: Mapping[str, int]
    bytes: int
    bound: int


def plan_memory(values: Sequence[Value]) -> MemoryPlan:
    """Two values overlap in memory only if they are never alive together, or one takes over the
    other's place whole."""
    groups = _merge_in_place(values)
    blocks = _blocks(groups)
    packing = pack(blocks)
    offsets = {
        name: offset
        for group, offset in zip(groups, packing.offsets, strict=True)
        for name in group.names
    }
    return MemoryPlan(offsets, packing.bytes, bound(blocks))


def least_memory(values: Sequence[Value]) -> int:
    """The bound of a plan, without making one."""
    return bound(_blocks(_merge_in_place(values)))


@dataclass(slots=True)
class _Group:
    """Values that share one place, one after the other."""

    names: list[str]
    bytes: int
    first: int
    last: int


def _blocks(groups: Sequence[_Group]) -> list[Block]:
    return [Block((Piece(0, each.bytes, each.first, each.last),)) for each in groups]


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
