"""Convolution with few multiplications; made by the compiler, not part of the language."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from cnnc.base.layout import Layout
from cnnc.base.record import record
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, Fma, Load
from cnnc.ops.cook_toom import TAPS, along, cook_toom, transform_input, transform_output
from cnnc.ops.groups import sizes
from cnnc.ops.spec import Blocking, Nest, Operator, ParameterSpec, Real, Sample, gamma

Ends = tuple[tuple[int, int], ...]


@record
class Band:
    """Rows of tiles that are computed together: `count` times `rows` from row `start` on.

    `last` is how many rows of results the last row of tiles has.
    """

    start: int
    count: int
    rows: int
    last: int


@dataclass(frozen=True)
class Winograd(Operator):
    """A convolution with windows of 3 on every axis, stride 1, by Winograd's F(results, 3).

    Tiles of results + 2 positions are transformed channel by channel, multiplied with transformed
    weights [channels, C, (results + 2) ** axes] and summed over channels, and transformed back.
    `rows` rows of tiles are computed together, so that what lies between the transforms stays in
    the caches, and of those so many `channels_at_once`; the channels are split into `parts` that
    different threads may compute, each with transforms of its own. `pads` are the zeros around the
    input. A value that is not finite spreads over the results of the tiles that read it.
    """

    results: int
    channels: int
    pads: Ends
    bias: bool
    rows: int
    channels_at_once: int
    columns: int
    parts: int = 1

    name = "winograd"

    @property
    def label(self) -> str:
        """See Operator."""
        shape = f"channels={self.channels}, rows={self.rows}, at_once={self.channels_at_once}"
        parts = f", parts={self.parts}" if self.parts > 1 else ""
        return f"winograd({self.text}, {shape}, columns={self.columns}{parts})"

    @property
    def text(self) -> str:
        """The algorithm's name."""
        return f"F({self.results}, 3)"

    @property
    def tile(self) -> int:
        """Input positions of a tile along each axis."""
        return self.results + TAPS - 1

    @property
    def sums_channels(self) -> bool:
        """See Operator."""
        return True

    def out(self, x: TensorType) -> tuple[int, ...]:
        """Spatial extents of the result."""
        return tuple(
            extent + sum(ends) - TAPS + 1 for extent, ends in zip(x.spatial, self.pads, strict=True)
        )

    def tiles(self, x: TensorType) -> tuple[int, ...]:
        """Tiles along each axis."""
        return tuple(-(-extent // self.results) for extent in self.out(x))

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        shape = (self.channels, x.channels, self.tile ** len(x.spatial))
        specs = [
            ParameterSpec("weight", TensorType.plain(shape, x.dtype), Initial("weight", shape[1]))
        ]
        if self.bias:
            bias = TensorType.plain((self.channels,), x.dtype)
            specs.append(ParameterSpec("bias", bias, Initial("zeros")))
        return tuple(specs)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        return x.with_shape((x.shape[0], self.channels, *self.out(x)))

    def reference(self, *inputs: Real) -> Real:
        """See Operator: the same arithmetic, which is exact but for rounding."""
        transforms = cook_toom(self.results)
        return self._compute(transforms.input, transforms.output, inputs)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: gamma(roundings) |A^T| (|U| * (|B^T| |x|)) as for any sum of products.

        Every product passes a transform's sums on each axis twice, and the sum over channels.
        """
        transforms, axes = cook_toom(self.results), len(self.pads)
        sides = (np.abs(transforms.input), np.abs(transforms.output))
        depth = sum(int(np.count_nonzero(side, axis=1).max()) for side in sides)
        relative = gamma(inputs[1].shape[1] + axes * depth + 2, unit)
        size = self._compute(*sides, sizes(inputs, unit)).astype(np.float64)
        bound: Real = relative * (1 + 1e-4) * size
        if errors[0].any():
            zeros = [np.zeros_like(value) for value in inputs[2:]]
            moved = self._compute(*sides, (errors[0], np.abs(inputs[1]), *zeros))
            bound += moved * (1 + relative)
        return bound

    def _compute(self, inward: Real, outward: Real, inputs: Sequence[Real]) -> Real:
        """The convolution with these transforms, one row of tiles at a time."""
        x, u = inputs[0], inputs[1]
        kind = TensorType.plain(x.shape)
        tiles, spatial = self.tiles(kind), self.out(kind)
        whole = [count * self.results for count in tiles]
        ends = [
            (before, size + TAPS - 1 - before - extent)
            for (before, _), size, extent in zip(self.pads, whole, kind.spatial, strict=True)
        ]
        padded = np.pad(x, [(0, 0), (0, 0), *ends])
        axes = tuple(range(2, x.ndim))
        weights = np.ascontiguousarray(np.moveaxis(u, -1, 0), x.dtype)
        views = np.lib.stride_tricks.sliding_window_view(padded, (self.tile,) * len(axes), axes)
        views = views[(slice(None), slice(None), *[slice(None, None, self.results)] * len(axes))]
        y = np.empty((x.shape[0], self.channels, *whole), x.dtype)
        inner, axes_of_tile = range(len(axes)), range(-len(axes), 0)
        for row in range(tiles[0]):
            # points first: terms are whole planes, which are read and written in order
            part = np.ascontiguousarray(np.moveaxis(views[:, :, row], axes_of_tile, inner))
            for axis in inner:
                part = along(inward, part, axis)
            summed = _products(weights, part, len(axes))
            for axis in inner:
                summed = along(outward, summed, axis)
            summed = np.moveaxis(summed, inner, axes_of_tile)
            y[:, :, row * self.results : (row + 1) * self.results] = _joined(summed, len(axes))
        y = y[(slice(None), slice(None), *map(slice, spatial))]
        return y + inputs[2].reshape(-1, *[1] * len(axes)) if self.bias else y

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator: those of the convolution that it computes."""
        return out.elements * inputs[0].channels * prod([TAPS] * len(self.pads))

    def halo(self, *inputs: TensorType) -> Ends:
        """See Operator: what the last tiles reach, which may have fewer results than others."""
        x = inputs[0]
        reach = [
            (before, max(0, count * self.results + TAPS - 1 - before - extent))
            for (before, _), count, extent in zip(self.pads, self.tiles(x), x.spatial, strict=True)
        ]
        return ((0, 0), (0, 0), *reach)

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        return Nest(out.spatial)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return Blocking((lanes,), lanes)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator: [O/at_once][tile][I/read][read][at_once]."""
        weight = Layout((0, 2, 1), ((1, read), (0, self.channels_at_once)))
        return (weight, Layout.blocked(1, 0, self.channels_at_once))[: 1 + self.bias]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: transform, multiply, transform back, band by band."""
        x = TensorType.plain(inputs[0].shape)
        for band in self._bands(x):
            with (
                build.loop("n", x.shape[0]) as n,
                build.loop("ob", band.count) as step,
                build.loop("op", self.parts) as part,
            ):
                where = (n, step * band.rows + band.start, part)
                _BandWriter(self, build, inputs, band, where).write()

    def _bands(self, x: TensorType) -> Iterator[Band]:
        """Full bands, and what is left, or ends with a tile that has fewer results."""
        tiles, extent = self.tiles(x)[0], self.out(x)[0]
        last = extent - (tiles - 1) * self.results
        full, rest = divmod(tiles, self.rows)
        if not rest and last < self.results:
            full, rest = full - 1, self.rows
        if full:
            yield Band(0, full, self.rows, self.results)
        if rest:
            yield Band(full * self.rows, 1, rest, last)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """It has no name in the language: see its own tests."""
        return ()


def _products(weights: Real, tiles: Real, axes: int) -> Real:
    """Sums over channels: [point, o, i] with [*sizes, n, i, *counts] to [*sizes, n, o, *counts]."""
    sizes, (n, channels, *counts) = tiles.shape[:axes], tiles.shape[axes:]
    by_point = tiles.reshape(len(weights), n, channels, -1)
    made = weights[:, None] @ by_point
    return made.reshape(*sizes, n, -1, *counts)


def _joined(tiles: Real, axes: int) -> Real:
    """One row of tiles [n, o, *counts, *sizes] as rows of results [n, o, size, …]."""
    first = tiles.ndim - axes
    order = [0, 1, first]
    for axis in range(1, axes):
        order += [1 + axis, first + axis]
    moved = tiles.transpose(order)
    shape = [moved.shape[2]] + [prod(moved.shape[3 + 2 * a : 5 + 2 * a]) for a in range(axes - 1)]
    return moved.reshape(*tiles.shape[:2], *shape)


class _BandWriter:
    """Writes the loops over one band."""

    def __init__(
        self,
        op: Winograd,
        build: KernelBuilder,
        inputs: Sequence[Buffer],
        band: Band,
        where: tuple[Expr, Expr, Expr],
    ) -> None:
        self.op, self.build, self.inputs, self.band = op, build, inputs, band
        self.n, self.row, self.part = where
        x = inputs[0]
        self.kind = TensorType(x.shape, x.dtype, x.layout)
        self.axes = len(x.shape) - 2
        self.across = op.tiles(self.kind)[1:]
        self.tiles = band.rows * prod(self.across)
        self.points = op.tile**self.axes
        layout = Layout.blocked(3, 1, x.layout.block(1))
        shape = (self.points, x.shape[1], self.tiles)
        self.transformed = build.scratch("v", shape, x.dtype, layout)

    def write(self) -> None:
        """The transform of the input, then all channels of the result, some at once."""
        op, build = self.op, self.build
        self._transform_input()
        out = build.out
        chunks = -(-op.channels // op.channels_at_once)
        layout = Layout.blocked(3, 1, out.layout.block(1))
        shape = (self.points, op.channels_at_once, self.tiles)
        with build.loop("oq", chunks // op.parts) as chunk:
            summed = build.scratch("m", shape, out.dtype, layout)
            first = (self.part * (chunks // op.parts) + chunk) * op.channels_at_once
            self._multiply(summed, first)
            self._transform_output(summed, first)

    def _transform_input(self) -> None:
        op, build, x = self.op, self.build, self.inputs[0]
        counts = (self.band.rows, *self.across)
        names = ["wr", *(f"wt{axis}" for axis in range(1, self.axes))]
        with build.loop("wi", x.shape[1]) as channel, build.loops(names, counts) as tile:
            corner = [self.row + tile[0], *tile[1:]]
            values = {}
            for index in product(range(op.tile), repeat=self.axes):
                where = [
                    place * op.results + step - before
                    for place, step, (before, _) in zip(corner, index, op.pads, strict=True)
                ]
                values[index] = build.let("d", build.padded(x, (self.n, channel, *where), 0.0))
            made = transform_input(values, op.results, lambda value: build.let("b", value))
            for point, value in enumerate(made.values()):
                build.store(self.transformed, (point, channel, self._flat(tile)), value)

    def _multiply(self, summed: Buffer, first: Expr) -> None:
        op, build, weight = self.op, self.build, self.inputs[1]
        with (
            build.loop("wx", self.points) as point,
            build.loop("oc", op.channels_at_once) as o,
            build.loop("ot", self.tiles) as tile,
        ):
            total = build.register("acc", summed.dtype, Const(0.0, summed.dtype))
            with build.loop("ic", weight.shape[1], reduces=True) as i:
                factors = weight[first + o, i, point], self.transformed[point, i, tile]
                build.store(total, (), Fma(*factors, total[()]))
            build.store(summed, (point, o, tile), total[()])

    def _transform_output(self, summed: Buffer, first: Expr) -> None:
        """Tiles at the end of an axis may have fewer results: they are a nest of their own."""
        op = self.op
        out = op.out(self.kind)
        sides = [[(0, self.band.rows - 1, op.results), (self.band.rows - 1, 1, self.band.last)]]
        for axis, count in enumerate(self.across, start=1):
            last = out[axis] - (count - 1) * op.results
            sides.append([(0, count - 1, op.results), (count - 1, 1, last)])
        sides = [_merged(side, op.results) for side in sides]
        with self.build.loop("zo", op.channels_at_once) as o:
            for pieces in product(*sides):
                self._write_tiles(summed, first, o, pieces)

    def _write_tiles(
        self, summed: Buffer, first: Expr, o: Expr, pieces: Sequence[tuple[int, int, int]]
    ) -> None:
        op, build = self.op, self.build
        names = [f"z{axis}" for axis in range(self.axes)]
        with build.loops(names, tuple(count for _, count, _ in pieces)) as steps:
            tile = [step + start for step, (start, _, _) in zip(steps, pieces, strict=True)]
            values = {}
            for point, index in enumerate(product(range(op.tile), repeat=self.axes)):
                load = Load(summed, (Const(point), o, self._flat(tile)))
                values[index] = build.let("s", load)
            made = transform_output(values, op.results, lambda value: build.let("a", value))
            bias = build.let("o", self.inputs[2][first + o]) if op.bias else None
            corner = [self.row + tile[0], *tile[1:]]
            for index, value in made.items():
                if any(step >= many for step, (_, _, many) in zip(index, pieces, strict=True)):
                    continue
                where = [
                    place * op.results + step for place, step in zip(corner, index, strict=True)
                ]
                total = value + bias if bias else value
                build.result((self.n, first + o, *where), total)

    def _flat(self, tile: Sequence[Expr]) -> Expr:
        """The number of a tile in its band."""
        number: Expr = tile[0]
        for place, count in zip(tile[1:], self.across, strict=True):
            number = number * count + place
        return number


def _merged(side: list[tuple[int, int, int]], results: int) -> list[tuple[int, int, int]]:
    """Pieces (first, how many, results of each) without empty ones, and one if all are full."""
    if side[-1][2] == results:
        return [(0, side[-1][0] + 1, results)]
    return [piece for piece in side if piece[1]]
