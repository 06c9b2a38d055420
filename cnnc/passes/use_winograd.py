"""Convolutions that Winograd's algorithm computes faster."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import prod

from cnnc.base.target import Target
from cnnc.base.tiles import Tile, Work, cycles, even_widths, fits
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.rewrite import fresh_name, rewrite
from cnnc.ir.types import TensorType
from cnnc.ops.conv import Conv
from cnnc.ops.cook_toom import PAIRS, TAPS
from cnnc.ops.winograd import Winograd
from cnnc.passes._transformed import Transformed

GAIN = 1.1
"""How much faster it must be by the estimate: it rounds more, and its weights are larger."""
LARGEST_TILES = 4
"""Results of a tile along each axis: with 6, errors are five times as large and hardly any time
is won (docs/performance.md), so that only tuning may choose it."""
_MANY_TASKS = 8
"""So many for each core are shared evenly enough even where they cannot be divided."""
_BLOCKS = (1, 2, 3, 4)
_L3_BYTES = 24.0
_MEMORY_BYTES = 8.0
"""Bytes a cycle that one core reads, as measured on servers; what compute hides is left out."""


def use_winograd(graph: Graph, target: Target) -> Graph:
    """conv(x, w), 3 taps on each axis  →  winograd(x, transformed w), where that is faster.

    Weights are transformed in float64 and rounded once.
    """
    return rewrite(graph, lambda node, graph: _rule(node, graph, target))


def _rule(node: Node, graph: Graph, target: Target) -> Node | None:
    op = node.op
    if not isinstance(op, Conv) or not node.type.dtype.is_float:
        return None
    x, old = node.inputs[0].type, node.inputs[1]
    window = op.window(x)
    plain = set(window.kernel) == {TAPS} and set(window.stride + window.dilation) == {1}
    if not isinstance(old.op, Constant) or not plain or op.groups > 1 or len(x.spatial) > 2:
        return None
    made = _choose(op, x, target)
    if made is None:
        return None
    points = (made.results + TAPS - 1) ** len(x.spatial)
    kind = TensorType.plain((*old.type.shape[:2], points), node.type.dtype)
    value = Constant(Transformed(old.op, made.results, kind))
    name = old.name if graph.is_private(old) else fresh_name(graph, f"{node.name}.weight")
    new = Node(value, (), kind, name, node.span)
    return replace(node, op=made, inputs=(node.inputs[0], new, *node.inputs[2:]))


@cache
def _choose(op: Conv, x: TensorType, target: Target) -> Winograd | None:
    """The fastest form by estimate, or None where the convolution itself is as fast."""
    lanes = target.lanes(x.dtype)
    if min(x.channels, op.channels) <= lanes // 2:
        return None
    plans = [_Plan(op, x, target, results) for results in PAIRS if results <= LARGEST_TILES]
    costs = [(plan.cost(shape), plan.made(shape)) for plan in plans for shape in plan.shapes()]
    cost, made = min(costs, key=lambda found: found[0])
    return made if cost * GAIN < _direct_cost(op, x, target) else None


@dataclass(frozen=True, slots=True)
class _Shape:
    """Rows of tiles, register tile, and parts of the channels that threads share."""

    rows: int
    tile: Tile
    parts: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """The estimate of one layer with tiles of so many results."""

    op: Conv
    x: TensorType
    target: Target
    results: int

    @property
    def lanes(self) -> int:
        """Channels in a vector."""
        return self.target.lanes(self.x.dtype)

    @property
    def tiles(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return tuple(-(-extent // self.results) for extent in self.op.window(self.x).out)

    def made(self, shape: _Shape) -> Winograd:
        """The operator."""
        pads, at_once = self.op.window(self.x).pads, shape.tile.blocks * self.lanes
        return Winograd(
            *(self.results, self.op.channels, pads, self.op.bias),
            *(shape.rows, at_once, shape.tile.columns, shape.parts),
        )

    def shapes(self) -> Iterator[_Shape]:
        """What may be chosen: registers hold the tile, and blocks divide the channels."""
        blocks = -(-self.op.channels // self.lanes)
        first, across = self.tiles[0], prod(self.tiles[1:])
        for rows in sorted({-(-first // pieces) for pieces in range(1, first + 1)}):
            work = self._work(rows * across)
            for at_once in (each for each in _BLOCKS if blocks % each == 0):
                tiles = [Tile(at_once, 1, width) for width in even_widths(rows * across)]
                tiles = [tile for tile in tiles if fits(tile, work, self.target)]
                if tiles:
                    tile = min(tiles, key=lambda tile: cycles(work, tile))
                    yield _Shape(rows, tile, self._parts(rows, blocks // at_once))

    def _work(self, tiles: int) -> Work:
        """The products of one point: a matrix product over all channels of the result."""
        blocks = -(-self.op.channels // self.lanes)
        return Work(blocks, (tiles,), self.x.channels, per_channel=False, read_block=self.lanes)

    def _parts(self, rows: int, chunks: int) -> int:
        """As few parts as give every core its share of the full bands, and of the last one."""
        full, rest = divmod(self.tiles[0], rows)
        if not rest and self.op.window(self.x).out[0] % self.results:
            full, rest = full - 1, 1
        nests = [self.x.shape[0] * bands for bands in (full, bool(rest)) if bands]
        cores = self.target.cores
        possible = [parts for parts in range(1, chunks + 1) if chunks % parts == 0]
        for parts in possible:
            tasks = [parts * bands for bands in nests]
            if all(count % cores == 0 or count >= _MANY_TASKS * cores for count in tasks):
                return parts
        return possible[-1]

    def cost(self, shape: _Shape) -> float:
        """Estimated cycles of one thread: products, transforms, and weights that come from afar."""
        axes, point = len(self.tiles), self.results + TAPS - 1
        points, across = prod([point] * axes), prod(self.tiles[1:])
        full, rest = divmod(self.tiles[0], shape.rows)
        bands = [shape.rows] * full + [rest] * bool(rest)
        products = points * sum(cycles(self._work(rows * across), shape.tile) for rows in bands)
        blocks = [-(-channels // self.lanes) for channels in (self.x.channels, self.op.channels)]
        transforms = (
            prod(self.tiles) * (blocks[0] * shape.parts + blocks[1]) * _transform(point, axes)
        )
        item = self.x.dtype.bytes
        weights = points * self.x.channels * blocks[1] * self.lanes * item
        moved = points * self.x.channels * shape.rows * across * item
        far = _afar(weights, self.target) * len(bands)
        if moved > self.target.l2_bytes // 2:
            far += len(bands) * moved * (blocks[1] // shape.tile.blocks / 4 + 2) / _L3_BYTES
        return float(self.x.shape[0]) * (products + transforms + far)


def _transform(point: int, axes: int) -> float:
    """Cycles to transform one vector of tiles there or back: lines on each axis, loads, stores."""
    pairs = (point - 2) // 2
    line = 2 * pairs + pairs * (2 * pairs)
    return 0.7 * (axes * prod([point] * (axes - 1)) * line + 2 * prod([point] * axes))


def _afar(size: int, target: Target) -> float:
    """Cycles to read so many bytes once, where they do not stay in the second-level cache."""
    if size <= target.l2_bytes:
        return 0.0
    return size / (_MEMORY_BYTES if size > max(target.l3_bytes, target.l2_bytes) else _L3_BYTES)


def _direct_cost(op: Conv, x: TensorType, target: Target) -> float:
    """Estimated cycles of the convolution itself, at nine tenths of the peak."""
    lanes, window = target.lanes(x.dtype), op.window(x)
    taps, blocks = prod(window.kernel), -(-op.channels // lanes)
    products = x.shape[0] * prod(window.out) * blocks * x.channels * taps / 2 / 0.9
    return products + _afar(taps * x.channels * blocks * lanes * x.dtype.bytes, target)
