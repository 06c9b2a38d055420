"""Transposed convolution over any number of spatial axes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from math import prod
from typing import ClassVar

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, both, grid_names, spatial_letters
from cnnc.loop.expr import Buffer, Const, Expr, Fma, compare, select
from cnnc.ops.attributes import Extents, Flag, Integer, Padding, PaddingKind, spread
from cnnc.ops.groups import (
    channel_blocking,
    check_groups,
    convolution_error,
    input_channel,
    is_depthwise,
)
from cnnc.ops.spec import (
    Blocking,
    Nest,
    Operator,
    ParameterSpec,
    Real,
    Sample,
    attr,
    check_floats,
    check_parameters,
    operator,
)
from cnnc.ops.transposed import Phase, TransposedWindow, resolve_transposed

MOST_NESTS = 64
"""Combinations of phases that get loops of their own; more would make too much code."""


@operator("conv_transpose")
class ConvTranspose(Operator):
    """Transposed convolution: every x[i, p] adds w[i, o, k] * x[i, p] to y[o, p * stride + k].

    Reads [N, C, *spatial], writes [N, channels, *out], with out = (extent - 1) * stride +
    (kernel - 1) * dilation + 1 + output_pad, less the padding: `pad` crops the result. `same` and
    `causal` crop it to extent * stride. Weights are [C, channels / groups, *kernel].
    """

    is_convolution: ClassVar[bool] = True

    channels: int = attr(Integer(), doc="channels of the result")
    kernel: tuple[int, ...] = attr(Extents(), doc="extent of the window")
    stride: tuple[int, ...] = attr(
        Extents(), doc="step of the window over the result", default=(1,)
    )
    pad: Padding = attr(PaddingKind(), doc="what is cropped of the result", default=Padding())
    output_pad: tuple[int, ...] = attr(Extents(0), doc="positions added at the end", default=(0,))
    dilation: tuple[int, ...] = attr(Extents(), doc="distance between taps", default=(1,))
    groups: int = attr(Integer(), doc="channels are split into this many groups", default=1)
    bias: bool = attr(Flag(), doc="whether a bias is added", default=True)

    def window(self, x: TensorType) -> TransposedWindow:
        """The window on an input."""
        return resolve_transposed(
            x, self.kernel, self.stride, self.pad, self.dilation, self.output_pad
        )

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        check_groups(x, self.channels, self.groups, self.name)
        kernel = spread(self.kernel, len(x.spatial), "kernel")
        stride = spread(self.stride, len(x.spatial), "stride")
        shape = (x.channels, self.channels // self.groups, *kernel)
        # Of the window's taps, one in so many meets each result.
        fan_in = max(1, x.channels // self.groups * prod(kernel) // prod(stride))
        weight = TensorType.plain(shape, x.dtype)
        initial = Initial("weight", fan_in, prod(shape[1:]))
        specs = [ParameterSpec("weight", weight, initial)]
        if self.bias:
            bias = TensorType.plain((self.channels,), x.dtype)
            specs.append(ParameterSpec("bias", bias, Initial("zeros")))
        return tuple(specs)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        check_floats(inputs)
        check_groups(x, self.channels, self.groups, self.name)
        window = self.window(x)
        check_parameters(self, *inputs)
        return x.with_shape((x.shape[0], self.channels, *window.out))

    def reference(self, *inputs: Real) -> Real:
        """See Operator: scattered, as the formula says."""
        x, w = inputs[0], inputs[1]
        window = self.window(TensorType.plain(x.shape))
        (n, c, *spatial), groups = x.shape, self.groups
        weights = w.reshape(groups, c // groups, self.channels // groups, *window.kernel)
        by_tap = np.moveaxis(weights, (0, 2, 1), (-3, -2, -1))
        values = x.reshape(n, groups, c // groups, -1)
        extended = [window.extended(axis, extent) for axis, extent in enumerate(spatial)]
        y: Real = np.zeros((n, self.channels, *extended))
        for tap, part in window.taps(y, tuple(spatial)):
            part += (by_tap[tap] @ values).reshape(part.shape)
        y = window.cropped(y)
        return y + inputs[2].reshape(-1, *[1] * len(spatial)) if self.bias else y

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator."""
        taps = self.window(TensorType.plain(inputs[0].shape)).most_taps()
        terms = inputs[0].shape[1] // self.groups * taps + 1
        return convolution_error(self, terms, unit, inputs, errors)

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator: cropped products count too, as padding does in `conv`."""
        return inputs[0].elements * prod(inputs[1].shape[1:])

    def halo(self, *inputs: TensorType) -> tuple[tuple[int, int], ...]:
        """See Operator."""
        return ((0, 0), (0, 0), *self.window(inputs[0]).halo(inputs[0].spatial))

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator: phases outside, in each of them a small convolution."""
        x = inputs[0]
        window = self.window(x)
        by_axis = [window.phases(axis) for axis in range(len(out.spatial))]
        if _too_many(by_axis):
            return Nest(out.spatial, self.groups, is_depthwise(x, self.channels, self.groups))
        count = prod(sum(phase.count for phase in phases) for phases in by_axis)
        return Nest(
            tuple(phases[0].out for phases in by_axis),
            groups=self.groups,
            per_channel=is_depthwise(x, self.channels, self.groups),
            taps=max(phase.taps for phase in by_axis[-1]),
            phases=count,
        )

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return channel_blocking(inputs[0], self.channels, self.groups, lanes)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator: [O/write][I/read][*kernel][read][write]."""
        rank = inputs[0].rank
        blocks: tuple[tuple[int, int], ...] = ((0, read), (1, write))
        order = (1, 0, *range(2, rank))
        if is_depthwise(inputs[0], self.channels, self.groups):
            blocks, order = ((0, write),), tuple(range(rank))
        weight = Layout(order, tuple(block for block in blocks if block[1] > 1))
        return (weight, Layout.blocked(1, 0, write))[: 1 + self.bias]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: a nest for each combination of phases, so that none tests positions.

        Strides that share no factor with the dilation have a phase for every position; where that
        makes too many nests, one nest tests which taps meet.
        """
        x = inputs[0]
        window = self.window(TensorType(x.shape, x.dtype, x.layout))
        by_axis = [window.phases(axis) for axis in range(len(window.kernel))]
        if _too_many(by_axis):
            self._define_gather(build, window, *inputs)
            return
        for phases in product(*by_axis):
            self._define_phase(build, phases, *inputs)

    def _define_phase(self, build: KernelBuilder, phases: Sequence[Phase], *inputs: Buffer) -> None:
        """A convolution whose taps stand in reverse; its results lie a stride apart."""
        rank, x = len(phases), inputs[0]
        n, o, *q = grid_names(rank + 2)
        names = (n, o, *(f"p{letter}" for letter in spatial_letters(rank)), *q)
        extents = (*build.out.shape[:2], *(p.count for p in phases), *(p.out for p in phases))
        with build.loops(names, extents) as (sample, channel, *rest):
            within, position = rest[:rank], rest[rank:]
            value = self._start(channel, *inputs)
            if all(phase.taps for phase in phases):
                total = build.register("acc", x.dtype, value)
                with self._taps(build, [p.taps for p in phases], channel, x) as (source, tap):
                    read = [p.reads(q, j) for p, q, j in zip(phases, position, tap, strict=True)]
                    at = [p.weight(c, j) for p, c, j in zip(phases, within, tap, strict=True)]
                    under = build.padded(x, (sample, source, *read), 0.0)
                    weight = self._weight(inputs[1], source, channel, at)
                    build.store(total, (), Fma(weight, under, total[()]))
                value = total[()]
            where = [p.position(q, c) for p, q, c in zip(phases, position, within, strict=True)]
            build.result((sample, channel, *where), value)

    def _define_gather(
        self, build: KernelBuilder, window: TransposedWindow, *inputs: Buffer
    ) -> None:
        """Every tap at every position; those that meet no element of the input count zero."""
        x = inputs[0]
        with build.grid() as (sample, channel, *position):
            total = build.register("acc", x.dtype, self._start(channel, *inputs))
            with self._taps(build, window.kernel, channel, x) as (source, tap):
                meets: Expr = Const(1, DType.BOOL)
                read: list[Expr] = []
                for axis, (p, k) in enumerate(zip(position, tap, strict=True)):
                    reach = p + window.crop[axis][0] - k * window.dilation[axis]
                    meets = both(meets, compare("eq", reach % window.stride[axis], Const(0)))
                    read.append(reach // window.stride[axis])
                under = build.padded(x, (sample, source, *read), 0.0)
                weight = self._weight(inputs[1], source, channel, tap)
                # A weight of zero would make NaN of an infinite element that is not under it.
                added = Fma(weight, under, total[()])
                build.store(total, (), select(meets, added, total[()]))
            build.result((sample, channel, *position), total[()])

    def _start(self, channel: Expr, *inputs: Buffer) -> Expr:
        return inputs[2][channel] if self.bias else Const(0.0, inputs[0].dtype)

    @contextmanager
    def _taps(
        self, build: KernelBuilder, taps: Sequence[int], channel: Expr, x: Buffer
    ) -> Iterator[tuple[Expr, Sequence[Expr]]]:
        """Loops over a group's channels and taps."""
        per_group, outputs = x.shape[1] // self.groups, self.channels // self.groups
        names = ("ic", *(f"k{letter}" for letter in spatial_letters(len(taps))))
        with build.loops(names, (per_group, *taps), reduces=True) as (i, *tap):
            yield input_channel(channel, i, per_group, outputs, self.groups), tap

    def _weight(self, w: Buffer, source: Expr, channel: Expr, at: Sequence[Expr]) -> Expr:
        outputs = self.channels // self.groups
        return w[(source, channel if self.groups == 1 else channel % outputs, *at)]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        same, ones = Padding("same"), Padding(explicit=((1, 1),))
        uneven = Padding(explicit=((1, 2), (0, 1)))
        return (
            Sample(cls(1, (1,)), ((1, 1, 1, 1),)),
            Sample(cls(5, (2,), stride=(2,)), ((2, 3, 5, 4),)),
            Sample(cls(4, (4,), stride=(2,), pad=ones), ((1, 3, 4, 5),)),
            Sample(cls(18, (3,), stride=(2,), pad=ones, output_pad=(1,)), ((1, 17, 5, 9),)),
            Sample(cls(6, (3, 2), (1, 3), uneven, (0, 2), (2, 1), groups=2), ((1, 4, 5, 4),)),
            Sample(cls(6, (3,), (2,), same, groups=6), ((2, 6, 5, 7),)),
            Sample(cls(32, (3,), (2,), same, groups=2), ((1, 8, 3, 5),)),
            Sample(cls(4, (2,), (4,), Padding("same_lower"), bias=False), ((1, 20, 3, 2),)),
            Sample(cls(3, (4,), (2,), Padding("causal")), ((2, 5, 7),)),
            Sample(cls(2, (9,), (3,), Padding("valid"), dilation=(2,)), ((1, 3, 4),)),
            Sample(cls(1, (9,), (3,), Padding(explicit=((4, 4),)), (2,)), ((1, 6, 3, 4),)),
            Sample(cls(17, (3,), pad=ones), ((1, 5, 4, 6),)),
            Sample(cls(2, (8,), (8,)), ((1, 3, 2, 3),)),
            Sample(cls(2, (2, 3, 2), (2, 1, 2), same), ((1, 3, 2, 3, 2),)),
            Sample(cls(1, (5,), (9,), dilation=(7,)), ((1, 2, 2, 3),)),
        )


def _too_many(by_axis: Sequence[Sequence[Phase]]) -> bool:
    """Whether phases get no loops of their own."""
    return prod(map(len, by_axis)) > MOST_NESTS
