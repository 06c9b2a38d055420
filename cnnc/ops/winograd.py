"""Convolution with few multiplications; made by the compiler, not part of the language."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnc.base.layout import Layout, Shape
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.cook_toom import Matrix, along, cook_toom
from cnnc.ops.groups import sizes
from cnnc.ops.spec import Blocking, Nest, Operator, ParameterSpec, Real, Sample, gamma
from cnnc.ops.winograd_loops import BandWriter, Form
from cnnc.ops.winograd_tiles import Piece, Side, TiledAxis

Ends = tuple[tuple[int, int], ...]
Places = NDArray[np.intp]
Change = Callable[[Matrix], Matrix]


@dataclass(frozen=True)
class Winograd(Operator):
    """A convolution by Winograd's F(results, taps) on every axis.

    Tiles of a few points along each of the `sides` are transformed channel by channel, multiplied
    with transformed weights [channels, phases * C, points] and summed over channels, and
    transformed back. Phases count as channels, for blocks of channels that are whole. `rows` rows
    of tiles are computed together, so that what lies between the transforms stays in the caches,
    and of those so many `channels_at_once`; the channels are split into `parts` that different
    threads may compute, each with transforms of its own. `pads` are the zeros around the input. A
    value that is not finite spreads over the results of the tiles that read it.
    """

    channels: int
    sides: tuple[Side, ...]
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
        strides, dilations = [s.stride for s in self.sides], [s.dilation for s in self.sides]
        split = max(self.phases) > 1
        apart = f", taps={_same([side.taps for side in self.sides])}" if split else ""
        apart += f", stride={_same(strides)}" if max(strides) > 1 else ""
        apart += f", dilation={_same(dilations)}" if max(dilations) > 1 else ""
        parts = f", parts={self.parts}" if self.parts > 1 else ""
        return f"winograd({self.text}, {shape}, columns={self.columns}{apart}{parts})"

    @property
    def text(self) -> str:
        """The algorithm's name."""
        results, taps = [s.results for s in self.sides], [s.phase_taps for s in self.sides]
        return f"F({_same(results)}, {_same(taps)})"

    @property
    def register_tile(self) -> tuple[int, int]:
        """Rows and columns of products that registers hold at once."""
        return 1, self.columns

    @property
    def tile(self) -> Shape:
        """Points of a tile along each axis."""
        return tuple(side.points for side in self.sides)

    @property
    def phases(self) -> Shape:
        """Phases along each axis."""
        return tuple(side.phases for side in self.sides)

    @property
    def sums_channels(self) -> bool:
        """See Operator."""
        return True

    def out(self, x: TensorType) -> tuple[int, ...]:
        """Spatial extents of the result."""
        return tuple(
            (extent + sum(ends) - (side.taps - 1) * side.dilation - 1) // side.stride + 1
            for extent, ends, side in zip(x.spatial, self.pads, self.sides, strict=True)
        )

    def axes(self, x: TensorType) -> tuple[TiledAxis, ...]:
        """How each axis is cut into tiles."""
        return tuple(map(TiledAxis, self.out(x), self.sides))

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        shape = (self.channels, prod(self.phases) * x.channels, prod(self.tile))
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
        return self._compute(lambda matrix: matrix, inputs)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: gamma(roundings) |A^T| (|U| * (|B^T| |x|)) as for any sum of products.

        Every product passes a transform's sums on each axis twice, and the sum over channels.
        """
        transforms = [cook_toom(side.points, side.phase_taps) for side in self.sides]
        sides = [side for each in transforms for side in (each.input, each.output)]
        depth = sum(int(np.count_nonzero(side, axis=1).max()) for side in sides)
        relative = gamma(inputs[1].shape[1] + depth + 2, unit)
        size = self._compute(np.abs, sizes(inputs, unit)).astype(np.float64)
        bound: Real = relative * (1 + 1e-4) * size
        if errors[0].any():
            zeros = [np.zeros_like(value) for value in inputs[2:]]
            moved = self._compute(np.abs, (errors[0], np.abs(inputs[1]), *zeros))
            bound += moved * (1 + relative)
        return bound

    def _compute(self, change: Change, inputs: Sequence[Real]) -> Real:
        """The convolution with transforms that are changed so, one row of tiles at a time."""
        x, u = inputs[0], inputs[1]
        kind = TensorType.plain(x.shape)
        axes = self.axes(kind)
        ends = [
            (before, max(0, axis.reach - before - extent))
            for (before, _), axis, extent in zip(self.pads, axes, kind.spatial, strict=True)
        ]
        padded = np.pad(x, [(0, 0), (0, 0), *ends])
        weights = np.ascontiguousarray(np.moveaxis(u, -1, 0), x.dtype)
        weights = weights.reshape(*self.tile, *weights.shape[1:])
        y = np.empty((x.shape[0], self.channels, *self.out(kind)), x.dtype)
        for pieces in product(*(axis.pieces for axis in axes)):
            self._compute_tiles(change, padded, weights, axes, pieces, y)
        return y + inputs[2].reshape(-1, *[1] * len(axes)) if self.bias else y

    def _compute_tiles(
        self,
        change: Change,
        padded: Real,
        weights: Real,
        axes: Sequence[TiledAxis],
        pieces: Sequence[Piece],
        y: Real,
    ) -> None:
        """Those of one piece of each axis, into y: they use as many points."""
        each = [*zip(axes, pieces, strict=True)]
        used = [axis.side.points_for(piece.results) for axis, piece in each]
        transforms = [
            cook_toom(side.points, side.phase_taps, many)
            for side, many in zip(self.sides, used, strict=True)
        ]
        reads = [_places(*pair, many) for pair, many in zip(each, used, strict=True)]
        writes = [_places(*pair, pair[1].results) for pair in each]
        phases = [*product(*map(range, self.phases))]
        weights, inner = weights[tuple(map(slice, used))], range(len(axes))
        weights = np.ascontiguousarray(weights).reshape(-1, *weights.shape[len(axes) :])
        results = tuple(slice(piece.results) for piece in pieces)
        for read, write in zip(reads[0], writes[0], strict=True):
            rows = [read, *reads[1:]]
            parts = [_taken(padded, _phase(rows, phase, self.sides)) for phase in phases]
            part = np.concatenate(parts, axis=len(axes) + 1)
            for axis in inner:
                part = along(change(transforms[axis].input), part, axis)
            summed = _products(weights, part, len(axes))
            for axis in reversed(inner):
                summed = along(change(transforms[axis].output), summed, axis)
            _put(y, [write, *writes[1:]], summed[results])

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator: those of the convolution that it computes."""
        return out.elements * inputs[0].channels * prod(side.taps for side in self.sides)

    def halo(self, *inputs: TensorType) -> Ends:
        """See Operator: what the last tiles reach, which may use fewer points than others."""
        x = inputs[0]
        reach = [
            (before, max(0, axis.reach - before - extent))
            for (before, _), axis, extent in zip(self.pads, self.axes(x), x.spatial, strict=True)
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
        axes = self.axes(x)
        form = Form(self.channels, self.channels_at_once, self.parts, self.pads, self.bias)
        for band in axes[0].bands(self.rows):
            with (
                build.loop("n", x.shape[0]) as n,
                build.loop("ob", band.count) as step,
                build.loop("op", self.parts) as part,
            ):
                where = (n, step * band.rows + band.start, part)
                BandWriter(form, build, inputs, axes, band, where).write()

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """It has no name in the language: see its own tests."""
        return ()


def _same(numbers: Sequence[int]) -> str:
    """One number if all are the same, or else 2×3."""
    return "×".join(map(str, numbers if len({*numbers}) > 1 else numbers[:1]))


def _places(axis: TiledAxis, piece: Piece, many: int) -> Places:
    """Positions of each tile of a piece, so many from its first on: [tiles, many]."""
    first = axis.positions()[piece.start : piece.start + piece.count]
    return np.asarray(first, np.intp)[:, None] + np.arange(many) * axis.side.apart


def _phase(rows: Sequence[Places], phase: Sequence[int], sides: Sequence[Side]) -> list[Places]:
    """The positions of a phase that tiles read."""
    found = zip(rows, phase, sides, strict=True)
    return [row * side.stride + number * side.dilation for row, number, side in found]


def _taken(padded: Real, reads: Sequence[Places]) -> Real:
    """One row of tiles, points first: [*points, n, i, *counts]; terms are planes then."""
    part = padded[:, :, reads[0]]
    if len(reads) == 1:
        return np.ascontiguousarray(np.moveaxis(part, 2, 0))
    part = part[..., reads[1]]  # [n, i, points, tiles, points]
    return np.ascontiguousarray(part.transpose(2, 4, 0, 1, 3))


def _put(y: Real, writes: Sequence[Places], made: Real) -> None:
    """Write one row of tiles [*results, n, o, *counts] where they belong."""
    if len(writes) == 1:
        y[:, :, writes[0]] = np.moveaxis(made, 0, 2)
        return
    lines = made.transpose(2, 3, 0, 4, 1)
    y[:, :, writes[0][:, None], writes[1].reshape(-1)] = lines.reshape(*lines.shape[:3], -1)


def _products(weights: Real, tiles: Real, axes: int) -> Real:
    """Sums over channels: [point, o, i] with [*sizes, n, i, *counts] to [*sizes, n, o, *counts]."""
    sizes, (n, channels, *counts) = tiles.shape[:axes], tiles.shape[axes:]
    by_point = tiles.reshape(len(weights), n, channels, -1)
    made = weights[:, None] @ by_point
    return made.reshape(*sizes, n, -1, *counts)
