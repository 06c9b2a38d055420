"""Winograd's algorithm, for windows of few taps: which forms there are and what they cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import product
from math import prod

from cnnc.base.choice import Choice, Chosen
from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.base.tiles import Tile, Work, even_widths, fits, short_cycles
from cnnc.ir.graph import Graph, Node
from cnnc.ir.types import TensorType
from cnnc.offers.far import L2_BYTES, L3_BYTES, are_far, cycles_from_afar
from cnnc.offers.offer import Candidate, root_of
from cnnc.offers.shares import longest_share
from cnnc.ops.conv import Conv
from cnnc.ops.cook_toom import PAIRS
from cnnc.ops.winograd import Winograd
from cnnc.ops.winograd_tiles import Band, Side, TiledAxis, side_of

GAIN = 1.1
"""How much faster it must be by the estimate: it rounds more, and its weights are larger."""
STRIDED_GAIN = 1.5
"""The same with a stride: weights become seven times as large and more."""
COARSE_GAIN = 1.15
"""How much faster tiles of 8 points must be than smaller ones: errors are four times as large
(docs/numerics.md)."""
WINOGRAD = "winograd"
FINE_TILES = 6
"""Points of a tile along each axis that has few roundings."""
_MOST_PARTS = 2
"""Parts for each core at most."""
_BLOCKS = (1, 2, 3, 4)
LARGEST_WEIGHTS = 160 << 20
"""Bytes of a layer's transformed weights: of F(4, 3) on two axes four times as many as before, of
F(6, 3) seven times, of phases of a stride up to sixteen times and more."""
LARGEST_ROW = 16 << 20
"""Bytes of one row of tiles between its transforms, which each thread needs for itself."""
MEASURED_WIDTHS = 2
"""Widths of a register tile that are worth measuring."""
_RELOAD = 0.25
"""Cycles for each vector of weights that comes from the second-level cache again."""


class WinogradOffer:
    """See Offer."""

    name = WINOGRAD
    rounds_more = True

    def candidates(self, node: Node, target: Target, *, far: bool) -> Iterator[Candidate]:
        """See Offer: tiles of any size, and for each number of rows the best register tiles."""
        root, operands = root_of(node)
        if not (isinstance(root, Conv) and suits(root, operands, target)):
            return
        x = TensorType.plain(operands[0].type.shape, operands[0].type.dtype)
        for points in _sizes(root, x, target):
            plan = _Plan(root, x, target, points, far)
            if plan.weights > LARGEST_WEIGHTS:
                continue
            for shape in plan.shapes(MEASURED_WIDTHS):
                yield Candidate(choice_of(plan.made(shape)), plan.span(shape))


OFFER = WinogradOffer()


def suits(op: Conv, operands: tuple[Node, ...], target: Target) -> bool:
    """Whether the algorithm computes this convolution of these operands, in whole vectors.

    That of f32 only: weights are transformed in float64, which is as good as exact there.
    """
    x, weight = operands[0].type, operands[1]
    plain = bool(_sizes(op, x, target))
    known = weight.is_constant and x.dtype is DType.F32
    lanes = target.lanes(x.dtype)
    wide = lanes > 1 and min(x.channels, op.channels) > lanes // 2
    return plain and known and wide and op.groups == 1 and len(x.spatial) <= 2


def choice_of(op: Winograd) -> Choice:
    """The operator as a choice, without its parts: these follow from the number of cores."""
    sizes = {
        "points": max(op.tile),
        "rows": op.rows,
        "at_once": op.channels_at_once,
        "columns": op.columns,
    }
    return Choice(WINOGRAD, tuple((name, (size,)) for name, size in sizes.items()))


def read_choice(chosen: Chosen, op: Conv, node: Node, target: Target) -> Winograd:
    """The operator that was chosen for a convolution; UserError where it is not possible."""
    sizes = {name: numbers[0] for name, numbers in chosen.choice.sizes if len(numbers) == 1}
    names, x = ("points", "rows", "at_once", "columns"), node.inputs[0].type
    if sizes.keys() != set(names) or sizes["points"] not in _sizes(op, x, target):
        possible = " or ".join(map(str, _sizes(op, x, target)))
        raise chosen.refuse(node.name, f"it needs {', '.join(names)}; points are {possible}")
    plan = _Plan(op, x, target, sizes["points"])
    blocks = sizes["at_once"] // plan.lanes
    shape = _Shape(sizes["rows"], Tile(blocks, 1, sizes["columns"]))
    why = plan.obstacle(shape)
    if why or sizes["at_once"] % plan.lanes:
        raise chosen.refuse(node.name, why or f"channels come in blocks of {plan.lanes}")
    return plan.made(shape)


def are_transformed_far(graph: Graph, target: Target) -> bool:
    """Whether a net's weights come from memory once those are transformed that would be if not.

    A net may fit the caches as it is written, and no longer with several times the weights.
    """
    if are_far(graph, target):
        return True
    more = 0
    for node in graph.nodes:
        if isinstance(node.op, Conv) and suits(node.op, node.inputs, target):
            x = node.inputs[0].type
            made = choose_winograd(node.op, x, target, far=False)
            if made is not None:
                plan = _Plan(node.op, x, target, max(made.tile))
                more += plan.weights - node.inputs[1].type.bytes
    return are_far(graph, target, more)


def choose_winograd(op: Conv, x: TensorType, target: Target, far: bool) -> Winograd | None:
    """The fastest form by estimate, or None where the convolution itself is as fast.

    `far` is said of the whole net (see `are_transformed_far`).
    """
    return _chosen(op, x, target, far)[0]


def winograd_gain(op: Conv, x: TensorType, target: Target, far: bool) -> float:
    """How many times as long the convolution itself would take; 1 where it is as fast."""
    return _chosen(op, x, target, far)[1]


@cache
def _chosen(op: Conv, x: TensorType, target: Target, far: bool) -> tuple[Winograd | None, float]:
    """The fastest form, and what is gained."""
    plans = [_Plan(op, x, target, points, far) for points in _sizes(op, x, target)]
    plans = [plan for plan in plans if plan.weights <= LARGEST_WEIGHTS]
    shapes = [(plan, list(plan.shapes())) for plan in plans]
    costs = [(min(map(plan.cost, found)), plan, found) for plan, found in shapes if found]
    if not costs:
        return None, 1.0
    # One thread's cost decides about the algorithm: for any number of cores it gives the same bits.
    cost, plan, found = min(costs, key=lambda each: each[0] * each[1].handicap)
    gain = STRIDED_GAIN if max(op.window(x).stride) > 1 else GAIN
    direct = _direct_cost(op, x, target, far)
    if cost * plan.handicap * gain >= direct:
        return None, 1.0
    return plan.made(min(found, key=plan.span)), direct / cost


def _sizes(op: Conv, x: TensorType, target: Target) -> list[int]:
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
class _Shape:
    """Rows of tiles, and the register tile."""

    rows: int
    tile: Tile


@dataclass(frozen=True)
class _Plan:
    """The estimate of one layer with tiles of so many points along each axis of several taps."""

    op: Conv
    x: TensorType
    target: Target
    points: int
    far: bool = False

    @property
    def lanes(self) -> int:
        """Channels in a vector."""
        return self.target.lanes(self.x.dtype)

    @property
    def handicap(self) -> float:
        """How many times slower it counts beside others, as it rounds more."""
        return COARSE_GAIN if self.points > FINE_TILES else 1.0

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The window on each axis."""
        sides = _sides(self.op, self.x, self.points)
        assert sides is not None
        return sides

    @cached_property
    def tile(self) -> Shape:
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
    def tiles(self) -> Shape:
        """Tiles along each axis."""
        return tuple(axis.count for axis in self.axes)

    @property
    def weights(self) -> int:
        """Bytes of the transformed weights."""
        channels = -(-self.op.channels // self.lanes) * self.lanes
        return prod(self.tile) * self.depth * channels * self.x.dtype.bytes

    def made(self, shape: _Shape) -> Winograd:
        """The operator."""
        window, at_once = self.op.window(self.x), shape.tile.blocks * self.lanes
        return Winograd(
            *(self.op.channels, self.sides, window.pads, self.op.bias),
            *(shape.rows, at_once, shape.tile.columns, self._parts(shape)),
        )

    def shapes(self, widths: int = 1) -> Iterator[_Shape]:
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
            for at_once in (each for each in _BLOCKS if blocks % each == 0 and self._stay(each)):
                tiles = [Tile(at_once, 1, width) for width in even_widths(rows * across)]
                tiles = [tile for tile in tiles if fits(tile, work, self.target)]
                price = partial(self._products, band)
                for tile in sorted(tiles, key=price)[:widths]:
                    yield _Shape(rows, tile)

    def obstacle(self, shape: _Shape) -> str | None:
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
        return at_once == 1 or size <= self.target.l2_bytes // 10

    def _transformed(self, rows: int) -> int:
        """Bytes of a band of tiles between its transform and the products."""
        tiles = rows * prod(self.tiles[1:])
        return prod(self.tile) * self.depth * tiles * self.x.dtype.bytes

    def _work(self, tiles: int) -> Work:
        """The products of one point: a matrix product over all channels of the result."""
        blocks = -(-self.op.channels // self.lanes)
        return Work(blocks, (tiles,), self.depth, per_channel=False, read_block=self.lanes)

    def _parts(self, shape: _Shape) -> int:
        """Parts with which all cores are done first: each transforms the input again."""
        chunks = -(-self.op.channels // self.lanes) // shape.tile.blocks
        most = min(chunks, _MOST_PARTS * self.target.cores) if self.target.cores > 1 else 1
        possible = [parts for parts in range(1, most + 1) if chunks % parts == 0]
        return min(possible, key=lambda parts: self._span(shape, parts))

    def span(self, shape: _Shape) -> float:
        """Estimated cycles of all cores until the last of them is done."""
        return self._span(shape, self._parts(shape))

    def _span(self, shape: _Shape, parts: int) -> float:
        cores, rows = self.target.cores, self.tiles[0]
        bands = self.axes[0].bands(shape.rows)
        nests = [(self.x.shape[0] * band.count * parts, band.rows) for band in bands]
        most = max(self.x.shape[0] * parts * rows / cores, longest_share(nests, cores))
        return self.cost(shape, parts) * most * cores / (self.x.shape[0] * parts * rows)

    def cost(self, shape: _Shape, parts: int = 1) -> float:
        """Estimated cycles of one thread: products, transforms, and weights that come from afar."""
        points, across = prod(self.tile), prod(self.tiles[1:])
        bands = [*self.axes[0].bands(shape.rows)]
        count = sum(band.count for band in bands)
        products = sum(self._products(band, shape.tile) * band.count for band in bands)
        if self.weights > self.target.l1_bytes // 2:
            products = max(products, count * self.weights / L2_BYTES)
        blocks = [-(-channels // self.lanes) for channels in (self.depth, self.op.channels)]
        transforms = (blocks[0] * parts + blocks[1]) * self._each_way
        far = cycles_from_afar(self.weights, self.target, far=self.far)
        far += (count - 1) * self._again(shape)
        near = products + transforms + count * self._moved(shape)
        panel = shape.tile.blocks * self.lanes * self.depth * self.x.dtype.bytes
        if panel > self.target.l1_bytes // 2:
            width = shape.tile.columns
            widths = sum(-(-band.rows * across // width) * band.count for band in bands)
            near += points * widths * self.depth * blocks[1] * _RELOAD
        return float(self.x.shape[0]) * (near + max(far / 2, far - near / 4))

    def _between(self, shape: _Shape) -> tuple[int, int]:
        """Bytes of a band's transformed tiles, and of some channels' sums."""
        tiles = self._transformed(shape.rows)
        return tiles, tiles * shape.tile.blocks * self.lanes // self.depth

    def _again(self, shape: _Shape) -> float:
        """Cycles in which weights arrive for another band, where all does not stay near."""
        if self.weights + sum(self._between(shape)) <= self.target.l2_bytes:
            return 0.0
        return max(self.weights / L3_BYTES, cycles_from_afar(self.weights, self.target, far=False))

    def _moved(self, shape: _Shape) -> float:
        """Cycles for what a band's tiles and sums exceed the second-level cache by."""
        chunks = -(-self.op.channels // self.lanes) // shape.tile.blocks
        (tiles, sums), size = self._between(shape), self.target.l2_bytes
        part = min(1.0, max(0.0, (tiles + sums - size / 2) / size))
        return part * (tiles * (chunks / 4 + 2) + sums * chunks * 2) / L3_BYTES

    def _products(self, band: Band, tile: Tile) -> float:
        """Estimated cycles of the products of a band: points of whole tiles alone have fewer."""
        pieces = [band.pieces, *(axis.pieces for axis in self.axes[1:])]
        groups = [axis.groups(some) for axis, some in zip(self.axes, pieces, strict=True)]
        return sum(
            prod(len(points) for points, _ in some)
            * short_cycles(self._work(prod(tiles for _, tiles in some)), tile, self.target)
            for some in product(*groups)
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


def _transform(tile: Shape, target: Target) -> float:
    """Cycles to transform one vector of tiles there or back: lines on each axis, loads, stores."""
    lines = 0.0
    for points in tile:
        pairs = (points - 2) // 2 if points > 1 else 0
        lines += prod(tile) / points * (2 * pairs + pairs * (2 * pairs))
    return 1.4 / target.vector_units * (lines + 2 * prod(tile))


def _direct_cost(op: Conv, x: TensorType, target: Target, far: bool) -> float:
    """Estimated cycles of the convolution itself, at nine tenths of the peak."""
    lanes, window = target.lanes(x.dtype), op.window(x)
    taps, blocks = prod(window.kernel), -(-op.channels // lanes)
    macs = prod(window.out) * blocks * x.channels * taps
    products = macs / target.vector_units / 0.9
    weights = taps * x.channels * blocks * lanes * x.dtype.bytes
    return x.shape[0] * (products + cycles_from_afar(weights, target, far=far))
