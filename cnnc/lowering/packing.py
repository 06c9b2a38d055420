"""Blocks of memory that are alive for some steps each, packed into as little as possible.

Finding the least arena is NP-hard. Blocks are placed one after the other, each at the lowest offset
that is free, in several orders that are known to do well; then the best order is bettered by moves
for as long as the arena is larger than what is alive at once. Nothing depends on chance or time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf
from random import Random

from cnnc.base.record import record
from cnnc.loop.kernel import align

EFFORT = 600_000
"""Comparisons of two blocks that a search may spend: about a tenth of a second."""


@record
class Piece:
    """Bytes `start` to `end` of a block, holding something from step `first` to `last`."""

    start: int
    end: int
    first: int
    last: int


@record
class Block:
    """Pieces that keep their places relative to each other."""

    pieces: tuple[Piece, ...]

    @property
    def end(self) -> int:
        """Bytes from its start to the end of its last piece."""
        return max(piece.end for piece in self.pieces)

    @property
    def first(self) -> int:
        """The step in which the first piece is written."""
        return min(piece.first for piece in self.pieces)

    @property
    def last(self) -> int:
        """The step in which the last piece is read for the last time."""
        return max(piece.last for piece in self.pieces)

    @property
    def volume(self) -> int:
        """Bytes × steps."""
        return sum((p.end - p.start) * (p.last - p.first + 1) for p in self.pieces)


@record
class Packing:
    """Byte offset of every block, and the bytes of the arena."""

    offsets: tuple[int, ...]
    bytes: int


Clashes = Sequence[Sequence[tuple[int, int, int]]]
"""For every block: (other, low, high) where it may not start between low and high, counted from
where the other starts; the ends are allowed."""


def pack(blocks: Sequence[Block]) -> Packing:
    """Places for blocks; pieces of different blocks that are alive together do not overlap."""
    goal, clashes = bound(blocks), _clashes(blocks)
    best: tuple[Packing, list[int]] | None = None
    for order in _orders(blocks):
        found = _place(order, blocks, clashes)
        if best is None or found.bytes < best[0].bytes:
            best = found, order
        if found.bytes <= goal:
            return found
    return _improve(*best, blocks, clashes, goal) if best else Packing((), 0)


def bound(blocks: Sequence[Block]) -> int:
    """The bytes alive in the step that has most: no arena can be smaller."""
    return max(alive_at(blocks).values(), default=0)


def alive_at(blocks: Sequence[Block]) -> dict[int, int]:
    """The bytes alive from each step on at which these change."""
    changes: Counter[int] = Counter()
    for block in blocks:
        own: Counter[int] = Counter()
        for piece in block.pieces:
            own[piece.first] += piece.end - piece.start
            own[piece.last + 1] -= piece.end - piece.start
        alive = before = 0
        for step in sorted(own):
            alive += own[step]
            changes[step] += align(alive) - before
            before = align(alive)
    steps = sorted(changes)
    return dict(zip(steps, accumulate(changes[step] for step in steps), strict=True))


def _clashes(blocks: Sequence[Block]) -> Clashes:
    found: list[list[tuple[int, int, int]]] = [[] for _ in blocks]
    spans = [(block.first, block.last) for block in blocks]
    for i, block in enumerate(blocks):
        for j in range(i):
            if spans[j][0] > spans[i][1] or spans[j][1] < spans[i][0]:
                continue
            for a in block.pieces:
                for b in blocks[j].pieces:
                    if a.first <= b.last and b.first <= a.last:
                        low, high = b.start - a.end, b.end - a.start
                        found[i].append((j, low, high))
                        found[j].append((i, -high, -low))
    return found


def _orders(blocks: Sequence[Block]) -> Iterator[list[int]]:
    """By size, bytes × steps, lifetime and start; the first is greedy by size, as in Pisarchyk and
    Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020."""
    numbers = range(len(blocks))
    size = [block.end for block in blocks]
    life = [block.last - block.first for block in blocks]
    first = [block.first for block in blocks]
    yield sorted(numbers, key=lambda i: (-size[i], first[i]))
    yield sorted(numbers, key=lambda i: (-blocks[i].volume, first[i]))
    yield sorted(numbers, key=lambda i: (-life[i], -size[i], first[i]))
    yield sorted(numbers, key=lambda i: (first[i], -life[i], -size[i]))
    yield sorted(numbers, key=lambda i: (first[i], -size[i]))
    yield sorted(numbers, key=lambda i: (-blocks[i].last, -size[i]))


def _place(order: Sequence[int], blocks: Sequence[Block], clashes: Clashes) -> Packing:
    """Each block in turn at the lowest offset that is free."""
    offsets = [-1] * len(order)
    most = _place_rest(offsets, order, blocks, clashes)
    assert most is not None
    return Packing(tuple(offsets), most)


def _place_rest(
    offsets: list[int],
    order: Sequence[int],
    blocks: Sequence[Block],
    clashes: Clashes,
    limit: float = inf,
) -> int | None:
    """Fill in the offsets of more blocks; the bytes of these, or None if more than the limit."""
    most = 0
    for i in order:
        taken = sorted(
            (offsets[j] + low, offsets[j] + high) for j, low, high in clashes[i] if offsets[j] >= 0
        )
        offset = 0
        for low, high in taken:
            if offset <= low:
                break
            if offset < high:
                offset = align(high)
        offsets[i] = offset
        most = max(most, align(offset + blocks[i].end))
        if most > limit:
            return None
    return most


def _improve(
    best: Packing, order: list[int], blocks: Sequence[Block], clashes: Clashes, goal: int
) -> Packing:
    """Move blocks that end highest forward in the order, keeping what is no worse."""
    chance, current = Random(0), best
    cost = sum(map(len, clashes)) + len(blocks)
    ends = [block.end for block in blocks]
    for _ in range(EFFORT // cost):
        if best.bytes <= goal:
            break
        top = max(order, key=lambda i: current.offsets[i] + ends[i])
        moved = top if chance.random() < 0.7 else chance.choice(order)
        tried = [i for i in order if i != moved]
        before = order.index(moved)
        place = chance.randrange(before + 1)
        if place == before:
            continue  # the same order
        tried.insert(place, moved)
        # Those in front stay where they are, and none of them ends behind the current arena.
        offsets = [-1] * len(order)
        for i in tried[:place]:
            offsets[i] = current.offsets[i]
        if _place_rest(offsets, tried[place:], blocks, clashes, current.bytes) is None:
            continue
        most = align(max(offset + end for offset, end in zip(offsets, ends, strict=True)))
        current, order = Packing(tuple(offsets), most), tried
        best = min(best, current, key=lambda packing: packing.bytes)
    return best
