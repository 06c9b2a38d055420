"""Tiles along an axis: every result is in one tile, and every tile in one band."""

from math import ceil

import pytest

from cnnc.ops.winograd_tiles import Side, TiledAxis, side_of


@pytest.mark.parametrize("apart", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("extent", [1, 2, 5, 12, 33, 61])
@pytest.mark.parametrize("taps", [1, 2, 3, 5])
def test_every_result_is_in_one_tile(extent: int, taps: int, apart: int) -> None:
    side = side_of(taps, 1, apart, 6)
    assert side is not None
    axis = TiledAxis(extent, side)
    first = axis.positions()
    assert len(first) == axis.count
    found = [
        first[tile] + step * side.apart
        for piece in axis.pieces
        for tile in range(piece.start, piece.start + piece.count)
        for step in range(piece.results)
    ]
    assert sorted(found) == list(range(extent))
    read = [
        first[tile] + (side.points_for(piece.results) - 1) * side.apart
        for piece in axis.pieces
        for tile in range(piece.start, piece.start + piece.count)
    ]
    assert max(read) == axis.reach - 1


@pytest.mark.parametrize(
    ("extent", "points", "taps", "products"),
    [
        pytest.param(16, 6, 3, [(range(6), 4)], id="whole tiles"),
        pytest.param(14, 6, 3, [(range(4), 4), (range(4, 6), 3)], id="two results of four points"),
        pytest.param(13, 6, 3, [(range(4), 4), (range(4, 6), 3)], id="one result of four points"),
        pytest.param(15, 6, 3, [(range(6), 4)], id="three results need all points"),
        pytest.param(28, 8, 3, [(range(6), 5), (range(6, 8), 4)], id="four results of six points"),
        pytest.param(
            14, 8, 3, [(range(4), 3), (range(4, 8), 2)], id="two results of four of eight"
        ),
        pytest.param(6, 6, 2, [(range(2), 2), (range(2, 6), 1)], id="one result of two points"),
        pytest.param(2, 6, 3, [(range(4), 1)], id="no whole tile"),
        pytest.param(5, 6, 1, [(range(1), 5)], id="an axis that is left as it is"),
    ],
)
def test_tiles_with_fewer_results_use_fewer_points(
    extent: int, points: int, taps: int, products: list[tuple[range, int]]
) -> None:
    """By how many tiles points are used."""
    side = side_of(taps, 1, 1, points)
    assert side is not None
    axis = TiledAxis(extent, side)
    assert [*axis.groups(axis.pieces)] == products


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("apart", [1, 5, 40, 10_000])
@pytest.mark.parametrize("extent", [1, 12, 33, 61, 25_000])
def test_every_tile_is_in_one_band(extent: int, apart: int, rows: int) -> None:
    """And there are few bands, as each is code of its own."""
    axis = TiledAxis(extent, Side(3, 1, apart, 1, 6))
    results = {
        tile: piece.results
        for piece in axis.pieces
        for tile in range(piece.start, piece.start + piece.count)
    }
    found: dict[int, int] = {}
    bands = list(axis.bands(rows))
    assert len(bands) <= 2 * len(axis.pieces)
    for band in bands:
        assert sum(piece.count for piece in band.pieces) == band.rows
        for turn in range(band.count):
            for piece in band.pieces:
                start = band.start + turn * band.rows + piece.start
                for tile in range(start, start + piece.count):
                    assert tile not in found
                    found[tile] = piece.results
    assert found == results


@pytest.mark.parametrize("taps", range(1, 22))
@pytest.mark.parametrize("points", [4, 6, 8])
def test_long_windows_are_split(taps: int, points: int) -> None:
    """Into few phases of few taps, or there is no side."""
    side = side_of(taps, 1, 1, points)
    if side is None:
        assert ceil(taps / 4) > min(5, points - 1)
        return
    assert side.phases * side.phase_taps >= taps
    assert side.phases <= 4
    assert side.results > 1 or taps == 1
