"""Strassen's algorithm: which rows are computed together, and in which register tiles."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.base.tiles import Tile, Work, cycles, fits, keeps_waiting, shorten, tiles
from cnnc.ops.strassen import PRODUCTS
from cnnc.ops.strassen_loops import halves_rows

_OF_A_PASS = 3
"""Products over whose weights a pass goes, at most."""
_ARRIVING = 24.0
"""Bytes of weights that arrive from the second-level cache in a cycle, beside sums of inputs from
there: measured on Zen 5, tiles of four blocks of channels."""
_TALLEST = 2
"""Rows of a register tile at most, as of those that `tiles` finds."""


class Shape(NamedTuple):
    """Rows that are computed together, and a register tile of a half of them."""

    rows: int
    tile: Tile


@record
class Halved:
    """A layer as the search sees it: `blocks` of `lanes` channels in each half of the result's.

    `depth` channels are read, of elements of so many `bytes`; the result is `height` × `width`.
    """

    blocks: int
    lanes: int
    depth: int
    bytes: int
    height: int
    width: int

    @property
    def halves_rows(self) -> bool:
        """See halves_rows."""
        return halves_rows(self.width)

    @property
    def half_width(self) -> int:
        """Columns of a half."""
        return self.width // 2 if self.halves_rows else self.width

    def lines(self, rows: int) -> int:
        """Rows of a half of so many."""
        return rows if self.halves_rows else rows // 2

    def bands(self) -> Iterator[int]:
        """How many rows may be computed together.

        All bands have as many: of a prime number each row is one, or all are.
        """
        step = 1 if self.halves_rows else 2
        return (rows for rows in range(step, self.height + 1, step) if self.height % rows == 0)

    def kept(self, rows: int) -> int:
        """Bytes of a band's sums."""
        return self.depth * rows * self.width * self.bytes

    def work(self, lines: int, target: Target) -> Work:
        """A product of so many lines: over half of the channels, for half of the result's."""
        bytes_of_block = self.lanes * self.bytes
        return Work(
            *(self.blocks, (lines, self.half_width), self.depth // 2),
            per_channel=False,
            read_block=self.lanes,
            near=target.l1_bytes // bytes_of_block // _OF_A_PASS,
            arrival=bytes_of_block / _ARRIVING,
        )


@cache
def shapes(layer: Halved, target: Target) -> tuple[Shape, ...]:
    """For each number of rows whose sums stay in the second-level cache the best tile."""
    work = layer.work(_TALLEST, target)
    possible = [tile for tile in tiles(work, target) if layer.blocks % tile.blocks == 0]
    found = []
    for rows in layer.bands():
        whole = [tile for tile in possible if tile.rows <= layer.lines(rows)]
        if whole and layer.kept(rows) <= target.l2_bytes:
            found.append(Shape(rows, _best(whole, layer.work(layer.lines(rows), target), target)))
    return tuple(found)


def _best(possible: Sequence[Tile], work: Work, target: Target) -> Tile:
    """Of tiles; what stores cost is no part of them here, nor of the convolution's cost."""
    best = min(possible, key=lambda tile: cycles(work, tile, target))
    waits = keeps_waiting(_OF_A_PASS * work.steps, target)
    return shorten(best, work, target) if waits else best


def cycles_of_products(layer: Halved, shape: Shape, target: Target) -> float:
    """Estimated cycles of one thread for the products of all bands."""
    rows, tile = shape
    bands = layer.height // rows
    return PRODUCTS * bands * cycles(layer.work(layer.lines(rows), target), tile, target)


def obstacle(layer: Halved, shape: Shape, target: Target) -> str | None:
    """Why the layer cannot have the shape, or None."""
    rows, tile = shape
    lines = layer.lines(rows)
    if rows not in layer.bands():
        kind = "pairs" if rows % 2 and not layer.halves_rows else rows
        return f"{layer.height} rows are not bands of {kind}"
    if tile.blocks < 1 or layer.blocks % tile.blocks:
        return f"half of the result has {layer.blocks} blocks of {layer.lanes} channels"
    if not 0 < tile.columns <= layer.half_width:
        return f"half of a row has {layer.half_width} columns"
    if not 0 < tile.rows <= min(lines, _TALLEST):
        return f"a tile of such a band has {min(lines, _TALLEST)} rows at most"
    if not fits(tile, layer.work(lines, target), target):
        return f"the tile does not fit {target.vector_registers} registers"
    return None
