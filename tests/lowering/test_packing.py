"""Blocks in memory: apart where they are alive together, and close to the least possible."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnc.loop.kernel import ALIGNMENT, align
from cnnc.lowering import packing
from cnnc.lowering.packing import Block, Packing, Piece, bound, pack


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Up to three pieces side by side."""
    pieces, start = [], 0
    for _ in range(draw(st.integers(1, 3))):
        end = start + draw(st.integers(1, 300))
        first = draw(st.integers(0, 10))
        pieces.append(Piece(start, end, first, first + draw(st.integers(0, 5))))
        start = end
    return Block(tuple(pieces))


def require_apart(found: Packing, given: Sequence[Block]) -> None:
    """No two pieces of different blocks overlap in memory and in time."""
    placed = [
        (number, offset + piece.start, offset + piece.end, piece)
        for number, (offset, block) in enumerate(zip(found.offsets, given, strict=True))
        for piece in block.pieces
    ]
    for one, start, end, piece in placed:
        assert 0 <= start <= end <= found.bytes
        for two, begin, stop, other in placed:
            together = one != two and piece.first <= other.last and other.first <= piece.last
            assert not together or end <= begin or stop <= start


@given(st.lists(blocks(), max_size=12))
def test_pieces_alive_together_are_apart(given: list[Block]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "EFFORT", 60_000)  # a tenth: many searches here find nothing better
        found = pack(given)
        assert found == pack(given)
    require_apart(found, given)
    assert all(offset % ALIGNMENT == 0 for offset in found.offsets)
    ends = [offset + block.end for offset, block in zip(found.offsets, given, strict=True)]
    assert found.bytes == align(max(ends, default=0))


def test_nothing_takes_nothing() -> None:
    assert pack([]) == Packing((), 0)
    assert bound([]) == 0


def test_a_block_fits_into_what_another_has_let_go() -> None:
    staircase = Block((Piece(0, 256, 0, 1), Piece(256, 512, 1, 3)))
    early, late = Block((Piece(0, 256, 0, 0),)), Block((Piece(0, 256, 2, 3),))
    found = pack([staircase, early, late])
    require_apart(found, [staircase, early, late])
    assert found.bytes == bound([staircase, early, late]) == 512


def test_the_search_finds_what_no_order_by_size_does() -> None:
    """Down and up again with skips between: greedy by size needs a fifth more."""
    sizes = {(0, 1): 83, (1, 12): 82, (2, 3): 40, (3, 10): 38, (4, 5): 20, (5, 8): 19, (6, 7): 19}
    sizes |= {(7, 8): 28, (8, 9): 56, (9, 10): 54, (10, 11): 112, (11, 12): 108, (12, 13): 80}
    given = [
        Block((Piece(0, size * 1024, *life),)) for life, size in sizes.items() for _ in range(2)
    ]
    found = pack(given)
    require_apart(found, given)
    assert found.bytes <= 1.05 * bound(given)
