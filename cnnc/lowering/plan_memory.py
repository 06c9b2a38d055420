"""One arena for all intermediate tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cnnc.base.record import record
from cnnc.lowering.packing import Block, Piece, alive_at, bound, pack


@record
class Value:
    """A tensor in the arena: its bytes, the step that writes it and the last one that reads it.

    `reuses` names a value whose memory this one may take over although both are alive in step
    `first`: the step reads each of its elements before it writes the same element. A value
    `inside` another shares that one's bytes from `at` on; what the other is made of is then alive
    for as long as the other is read, and the reverse.
    """

    name: str
    bytes: int
    first: int
    last: int
    reuses: tuple[str, ...] = ()
    inside: str = ""
    at: int = 0


@record
class MemoryPlan:
    """Byte offset of every value, and the size of the arena.

    `bound` is what is alive in the step that needs most, and so the least for this order of steps.
    """

    offsets: Mapping[str, int]
    bytes: int
    bound: int


def plan_memory(values: Sequence[Value]) -> MemoryPlan:
    """Two values overlap in memory only if they are never alive together, one is inside the other,
    or one takes over the other's place whole."""
    families = _families(values)
    blocks = [family.block() for family in families]
    packing = pack(blocks)
    offsets = {
        value.name: offset + at
        for family, offset in zip(families, packing.offsets, strict=True)
        for value, at in family.members
    }
    return MemoryPlan(offsets, packing.bytes, bound(blocks))


def least_memory(values: Sequence[Value]) -> int:
    """The bound of a plan, without making one."""
    return bound([family.block() for family in _families(values)])


def peak_step(values: Sequence[Value]) -> int:
    """The first step in which the most memory is alive; 0 where there are no values."""
    alive = alive_at([family.block() for family in _families(values)])
    return max(alive, key=lambda step: (alive[step], -step), default=0)


Member = tuple[Value, int]
"""A value and where it begins in its family, in bytes."""


@dataclass(slots=True, eq=False)
class _Family:
    """Values that keep their places relative to each other; `bytes` is what they span."""

    members: list[Member]
    bytes: int

    def around(self, member: Member) -> list[Value]:
        """The other values that share bytes with one."""
        value, at = member
        return [
            other
            for other, start in self.members
            if other is not value and start < at + value.bytes and at < start + other.bytes
        ]

    def block(self) -> Block:
        """What is alive when: bytes of which all values know the same are one piece."""
        if len(self.members) == 1:
            value, at = self.members[0]
            return Block((Piece(at, at + value.bytes, value.first, value.last),))
        ends = sorted({edge for value, at in self.members for edge in (at, at + value.bytes)})
        pieces: list[Piece] = []
        for start, end in pairwise(ends):
            here = [value for value, at in self.members if at <= start < at + value.bytes]
            first = min((value.first for value in here), default=0)
            last = max((value.last for value in here), default=-1)
            before = pieces[-1] if pieces else None
            if before and (before.end, before.first, before.last) == (start, first, last):
                pieces[-1] = Piece(before.start, end, first, last)
            elif here:
                pieces.append(Piece(start, end, first, last))
        return Block(tuple(pieces))


def _families(values: Sequence[Value]) -> list[_Family]:
    """Values inside others with those, then what takes over a place with what leaves it."""
    named = {value.name: value for value in values}
    families: dict[str, _Family] = {}
    members: dict[str, Member] = {}
    for value in values:
        outermost, at = value, 0
        while outermost.inside:
            at += outermost.at
            outermost = named[outermost.inside]
        family = families.setdefault(outermost.name, _Family([], outermost.bytes))
        families[value.name], members[value.name] = family, (value, at)
        family.members.append(members[value.name])
    for value in sorted(values, key=lambda each: each.first):
        for left in value.reuses:
            if left in named and _take_over(members[left], members[value.name], families):
                for each in (*families[left].members,):
                    members[each[0].name] = each
                break
    return list({id(family): family for family in families.values()}.values())


def _take_over(left: Member, taken: Member, families: dict[str, _Family]) -> bool:
    """Move the family of one value to where that of the other is, if nothing is in the way."""
    old, new, step = families[left[0].name], families[taken[0].name], taken[0].first
    free = left[0].last == step and all(each.last < step for each in old.around(left))
    fresh = all(each.first > step for each in new.around(taken))
    size = left[0].bytes
    alike = size == taken[0].bytes and size in (old.bytes, new.bytes)
    if old is new or not (free and fresh and alike):
        return False
    shift = left[1] - taken[1]
    old.members = [(each, at + max(0, -shift)) for each, at in old.members]
    old.members += [(each, at + max(0, shift)) for each, at in new.members]
    old.bytes = max(old.bytes, new.bytes)
    for each, _ in new.members:
        families[each.name] = old
    return True
