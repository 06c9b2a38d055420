"""The forms that Winograd's algorithm may have for a convolution, and what they cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from math import prod

from cnnc.base import layout
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.base.tiles import Tile, Work, even_widths, fits, short_cycles
from cnnc.ir.types import TensorType
from cnnc.offers.far import L2_BYTES, L3_BYTES, cycles_from_afar
from cnnc.offers.shares import longest_share
from cnnc.ops.conv import Conv
from cnnc.ops.cook_toom import PAIRS
from cnnc.ops.winograd import Winograd
from cnnc.ops.winograd_tiles import Band, Side, TiledAxis, side_of

LARGEST_WEIGHTS = 160 << 20
"""Bytes of a layer's transformed weights: of F(4, 3) on two axes four times as many as before, of
F(6, 3) seven times, of the phases of a stride up to 28 times."""
LARGEST_ROW = 16 << 20
"""Bytes of one row of tiles between its transforms, which each thread needs for itself."""
_MOST_PARTS = 2
"""Parts for each core at most."""
_BLOCKS = (1, 2, 3, 4)
_STAYING = 7
"""How many times the weights of one point must fit the second-level cache, several blocks of
channels at once: beside them are the next ones and a point's tiles. Measured on Zen 5, two blocks
of a thousand channels, which load half as much as one block of twice as many tiles."""
_RELOAD = 0.25
"""Cycles for each vector of weights that comes from the second-level cache again."""
_HIDDEN = 0.5
"""The part of the time for weights from afar that passes while others are multiplied, at most."""
_HIDING = 0.25
"""The part of the time for all else in which weights arrive from afar, at most."""


def points_of(op: Conv, x: TensorType, target: Target) -> list[int]:
    """Points that a tile may have. Of several phases, each has whole blocks of channels."""
    found = {points: _sides(op, x, points) for points in PAIRS}
    whole = x.channels % target.lanes(x.dtype) == 0
    return [
        points
        for points, sides in found.items()
        if sides and (whole or all(side.phases == 1 for side in sides))
    ]


def _sides(op: Conv, x: TensorType, points: int) -> tuple[Side, ...] | None:
    """The window on each axis with tiles of so many points; None where it does not suit."""
    window = op.window(x)
    each = [*zip(window.kernel, window.stride, window.dilation, strict=True)]
    if any(taps > 1 and min(stride, dilation) > 1 for taps, stride, dilation in each):
        return None
    sides = [side_of(*numbers, points) for numbers in each]
    found = tuple(side for side in sides if side is not None)
    return found if len(found) == len(sides) and max(s.points for s in found) > 1 else None


@record
class Shape:
    """Rows of tiles, and the register tile."""

    rows: int
    tile: Tile


@dataclass(frozen=True)
class Form:
    """One layer with tiles of so many points along each axis of several taps, and its estimate.

    What it costs depends on whether weights come from memory, which is said of the whole net (see
    `are_transformed_far`).
    """

    op: Conv
    x: TensorType
    target: Target
    points: int

    @cached_property
    def lanes(self) -> int:
        """Channels in a vector."""
        return self.target.lanes(self.x.dtype)

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The window on each axis."""
        sides = _sides(self.op, self.x, self.points)
        assert sides is not None
        return sides

    @cached_property
    def tile(self) -> layout.Shape:
        """Points along each axis."""
        return tuple(side.points for side in self.sides)

    @cached_property
    def axes(self) -> tuple[TiledAxis, ...]:
        """How each axis is cut into tiles."""
        return tuple(map(TiledAxis, self.op.window(self.x).out, self.sides))

    @cached_property
    def depth(self) -> int:
        """Channels that are summed: those of each phase."""
        return self.x.channels * prod(side.phases for side in self.sides)

    @cached_property
    def tiles(self) -> layout.Shape:
        """Tiles along each axis."""
        return tuple(axis.count for axis in self.axes)

    @cached_property
    def weights(self) -> int:
        """Bytes of the transformed weights."""
        channels = -(-self.op.channels // self.lanes) * self.lanes
        return prod(self.tile) * self.depth * channels * self.x.dtype.bytes

    def made(self, shape: Shape, far: bool) -> Winograd:
        """The operator."""
        window, at_once = self.op.window(self.x), shape.tile.blocks * self.lanes
        parts = self._parts(shape, far, self.target.cores)
        return Winograd(
            *(self.op.channels, self.sides, window.pads, self.op.bias),
            *(shape.rows, at_once, shape.tile.columns, parts),
        )

    @cached_property
    def best_shapes(self) -> tuple[Shape, ...]:
        """One for each number of rows and of blocks."""
        return tuple(self.shapes())

    def shapes(self, widths: int = 1) -> Iterator[Shape]:
        """What may be chosen: registers hold the tile, and blocks divide the channels.

        For each number of rows and blocks, the register tiles of the best `widths`.
        """
        blocks = -(-self.op.channels // self.lanes)
        first, across = self.tiles[0], prod(self.tiles[1:])
        most = max(4 * self.target.l2_bytes, self.target.l3_bytes // 8)
        for rows in sorted({-(-first // pieces) for pieces in range(1, first + 1)}):
            # one row leaves the caches rather than that there would be no form at all
            if self._transformed(rows) > (most if rows > 1 else LARGEST_ROW):
                break
            work, band = self._work(rows * across), next(self.axes[0].bands(rows))
            groups = [*self._groups(band)]
            for at_once in (each for each in _BLOCKS if blocks % each == 0 and self._stay(each)):
                tiles = [Tile(at_once, 1, width) for width in even_widths(rows * across)]
                tiles = [tile for tile in tiles if fits(tile, work, self.target)]
                price = partial(self._products, groups)
                for tile in sorted(tiles, key=price)[:widths]:
                    yield Shape(rows, tile)

    def obstacle(self, shape: Shape) -> str | None:
        """Why the layer cannot have the shape, or None."""
        blocks, tile = -(-self.op.channels // self.lanes), shape.tile
        first, across = self.tiles[0], prod(self.tiles[1:])
        if self.weights > LARGEST_WEIGHTS:
            return f"its weights would take {self.weights >> 20} MiB"
        if self._transformed(1) > LARGEST_ROW:
            return f"a row of its tiles would take {self._transformed(1) >> 20} MiB"
        if shape.rows > first:
            return f"there are {first} rows of tiles"
        if not tile.blocks or blocks % tile.blocks:
            return f"the result has {blocks} blocks of {self.lanes} channels"
        if tile.columns > shape.rows * across:
            return f"{shape.rows} rows have {shape.rows * across} tiles"
        if not fits(tile, self._work(shape.rows * across), self.target):
            return f"the tile does not fit {self.target.vector_registers} registers"
        return None

    def _stay(self, at_once: int) -> bool:
        """Whether the weights of one point stay in the second-level cache, and the next ones."""
        size = at_once * self.lanes * self.depth * self.x.dtype.bytes
        return at_once == 1 or size <= self.target.l2_bytes // _STAYING

    def _transformed(self, rows: int) -> int:
        """Bytes of a band of tiles between its transform and the products."""
        tiles = rows * prod(self.tiles[1:])
        return prod(self.tile) * self.depth * tiles * self.x.dtype.bytes

    def _work(self, tiles: int) -> Work:
        """The products of one point: a matrix product over all channels of the result."""
        blocks = -(-self.op.channels // self.lanes)
        return Work(blocks, (tiles,), self.depth, per_channel=False, read_block=self.lanes)

    def _parts(self, shape: Shape, far: bool, cores: int) -> int:
        """Parts with which all cores are done first: each transforms the input again."""
        chunks = -(-self.op.channels // self.lanes) // shape.tile.blocks
        most = min(chunks, _MOST_PARTS * cores) if cores > 1 else 1
        possible = [parts for parts in range(1, most + 1) if chunks % parts == 0]
        return min(possible, key=lambda parts: self._span(shape, far, cores, parts))

    def span(self, shape: Shape, far: bool, cores: int = 0) -> float:
        """Estimated cycles of all cores, those of the target or so many, until the last is done."""
        cores = cores or self.target.cores
        return self._span(shape, far, cores, self._parts(shape, far, cores))

    def _span(self, shape: Shape, far: bool, cores: int, parts: int) -> float:
        rows, samples = self.tiles[0], self.x.shape[0]
        bands = self.axes[0].bands(shape.rows)
        nests = [(samples * band.count * parts, band.rows) for band in bands]
        most = max(samples * parts * rows / cores, longest_share(nests, cores))
        return self.cost(shape, far, parts) * most * cores / (samples * parts * rows)

    def cost(self, shape: Shape, far: bool, parts: int = 1) -> float:
        """Estimated cycles of one thread: products, transforms, and weights that come from afar.

        While those arrive others are multiplied, but for a part of the time.
        """
        near, count = self._near(shape, parts)
        moved = cycles_from_afar(self.weights, self.target, far=far)
        moved += (count - 1) * self._again(shape)
        return float(self.x.shape[0]) * (near + moved - min(moved * _HIDDEN, near * _HIDING))

    def least_cost(self, far: bool) -> float:
        """Of the best shape on one thread."""
        return min(self.cost(shape, far) for shape in self.best_shapes)

    def _near(self, shape: Shape, parts: int) -> tuple[float, int]:
        """Estimated cycles of all but weights that come from afar, and how many bands there are."""
        products, turns, count = self._summed(shape)
        if self.weights > self.target.l1_bytes // 2:
            products = max(products, count * self.weights / L2_BYTES)
        blocks = [-(-channels // self.lanes) for channels in (self.depth, self.op.channels)]
        near = products + (blocks[0] * parts + blocks[1]) * self._each_way
        near += count * self._moved(shape)
        panel = shape.tile.blocks * self.lanes * self.depth * self.x.dtype.bytes
        if panel > self.target.l1_bytes // 2:
            near += turns * self.depth * blocks[1] * _RELOAD
        return near, count

    def _summed(self, shape: Shape) -> tuple[float, int, int]:
        """Cycles of all products, how often they pass a point's weights, and bands.

        Kept for each shape: it is asked for with any number of parts and cores.
        """
        if shape not in self._known:
            cycles, turns, count = 0.0, 0, 0
            for band in self.axes[0].bands(shape.rows):
                groups = [*self._groups(band)]
                width = shape.tile.columns
                cycles += self._products(groups, shape.tile) * band.count
                turns += sum(n * -(-tiles // width) for n, tiles in groups) * band.count
                count += band.count
            self._known[shape] = cycles, turns, count
        return self._known[shape]

    @cached_property
    def _known(self) -> dict[Shape, tuple[float, int, int]]:
        return {}

    def _between(self, shape: Shape) -> tuple[int, int]:
        """Bytes of a band's transformed tiles, and of some channels' sums."""
        tiles = self._transformed(shape.rows)
        return tiles, tiles * shape.tile.blocks * self.lanes // self.depth

    def _again(self, shape: Shape) -> float:
        """Cycles in which weights arrive for another band, where all does not stay near."""
        if self.weights + sum(self._between(shape)) <= self.target.l2_bytes:
            return 0.0
        return max(self.weights / L3_BYTES, cycles_from_afar(self.weights, self.target, far=False))

    def _moved(self, shape: Shape) -> float:
        """Cycles for what a band's tiles and sums exceed half of the second-level cache by.

        Tiles are written and read, and read again for some chunks of channels, which the rest of
        the work hides in part; sums are written and read.
        """
        chunks = -(-self.op.channels // self.lanes) // shape.tile.blocks
        (tiles, sums), size = self._between(shape), self.target.l2_bytes
        part = min(1.0, max(0.0, (tiles + sums - size / 2) / size))
        return part * (tiles * (chunks / 4 + 2) + sums * chunks * 2) / L3_BYTES

    def _groups(self, band: Band) -> Iterator[tuple[int, int]]:
        """Points of a band's tiles that as many of them use, and how many."""
        pieces = [band.pieces, *(axis.pieces for axis in self.axes[1:])]
        groups = [axis.groups(some) for axis, some in zip(self.axes, pieces, strict=True)]
        for some in product(*groups):
            yield prod(len(points) for points, _ in some), prod(tiles for _, tiles in some)

    def _products(self, groups: Sequence[tuple[int, int]], tile: Tile) -> float:
        """Estimated cycles of the products of a band."""
        return sum(
            points * short_cycles(self._work(tiles), tile, self.target) for points, tiles in groups
        )

    @cached_property
    def _each_way(self) -> float:
        """Cycles to transform a vector of channels of every tile, there or back."""
        total = 0.0
        for pieces in product(*(axis.pieces for axis in self.axes)):
            each = zip(self.sides, pieces, strict=True)
            used = tuple(side.points_for(piece.results) for side, piece in each)
            total += prod(piece.count for piece in pieces) * _transform(used, self.target)
        return total


def _transform(tile: layout.Shape, target: Target) -> float:
    """Cycles to transform one vector of tiles there or back: lines on each axis, loads, stores."""
    lines = 0.0
    for points in tile:
        pairs = (points - 2) // 2 if points > 1 else 0
        lines += prod(tile) / points * (2 * pairs + pairs * (2 * pairs))
    return 1.4 / target.vector_units * (lines + 2 * prod(tile))
