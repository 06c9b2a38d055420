"""Convolution over any number of spatial axes."""

from collections.abc import Callable, Sequence
from math import prod
from typing import ClassVar

import numpy as np

from cnnc.base.layout import Layout
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, spatial_letters
from cnnc.loop.expr import Buffer, Const, Expr, Fma
from cnnc.ops.attributes import Extents, Flag, Integer, Padding, PaddingKind, spread
from cnnc.ops.groups import (
    channel_blocking,
    check_groups,
    convolution_error,
    fan,
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
from cnnc.ops.window import Window, resolve_window

Mask = Callable[[Expr, Expr, Expr], Expr]
"""What channel o of the result sees of a value that it reads as its i-th: of (o, i, value)."""


@operator("conv")
class Conv(Operator):
    """Convolution (cross-correlation): y[o] = bias[o] + sum over i, k of w[o, i, k] * x[i, p + k].

    Reads [N, C, *spatial], writes [N, channels, *out]. Weights are [channels, C / groups, *kernel].
    """

    is_convolution: ClassVar[bool] = True

    channels: int = attr(Integer(), doc="channels of the result")
    kernel: tuple[int, ...] = attr(Extents(), doc="extent of the window")
    stride: tuple[int, ...] = attr(Extents(), doc="step of the window", default=(1,))
    pad: Padding = attr(PaddingKind(), doc="zeros around the input", default=Padding())
    dilation: tuple[int, ...] = attr(Extents(), doc="distance between taps", default=(1,))
    groups: int = attr(Integer(), doc="channels are split into this many groups", default=1)
    bias: bool = attr(Flag(), doc="whether a bias is added", default=True)

    @property
    def sums_channels(self) -> bool:
        """See Operator."""
        return self.groups == 1

    def window(self, x: TensorType) -> Window:
        """The window on an input."""
        return resolve_window(x, self.kernel, self.stride, self.pad, self.dilation)

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        check_groups(x, self.channels, self.groups, self.name)
        kernel = spread(self.kernel, len(x.spatial), "kernel")
        shape = (self.channels, x.channels // self.groups, *kernel)
        weight = TensorType.plain(shape, x.dtype)
        initial = Initial("weight", *fan(shape, self.groups))
        specs = [ParameterSpec("weight", weight, initial)]
        if self.bias:
            bias = TensorType.plain((self.channels,), x.dtype)
            specs.append(ParameterSpec("bias", bias, Initial("zeros")))
        return tuple(specs)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        check_floats(inputs)
        window = self.window(x)
        check_parameters(self, *inputs)
        return x.with_shape((x.shape[0], self.channels, *window.out))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x, w = inputs[0], inputs[1]
        window = self.window(TensorType.plain(x.shape))
        (n, c), groups = x.shape[:2], self.groups
        weights = w.reshape(groups, self.channels // groups, -1)
        y: Real = np.empty((n, groups, self.channels // groups, *window.out), x.dtype)
        for rows, under in window.columns(x, 0.0):
            columns = under.reshape(n, groups, c // groups * prod(window.kernel), -1)
            part = y[:, :, :, rows]
            part[...] = (weights @ columns).reshape(part.shape)
        y = y.reshape(n, self.channels, *window.out)
        return y + inputs[2].reshape(-1, *[1] * len(window.kernel)) if self.bias else y

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator."""
        terms = prod(inputs[1].shape[1:]) + 1
        return convolution_error(self, terms, unit, inputs, errors)

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator."""
        return out.elements * prod(inputs[1].shape[1:])

    def halo(self, *inputs: TensorType) -> tuple[tuple[int, int], ...]:
        """See Operator."""
        return ((0, 0), (0, 0), *self.window(inputs[0]).halo(inputs[0].spatial))

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        x = inputs[0]
        kernel = self.window(x).kernel
        return Nest(
            out.spatial,
            groups=self.groups,
            per_channel=is_depthwise(x, self.channels, self.groups),
            strided=max(self.stride) > 1,
            taps=kernel[-1],
            one_tap=max(kernel) == 1,
        )

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return channel_blocking(inputs[0], self.channels, self.groups, lanes)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator: [O/write][I/read][*kernel][read][write]."""
        rank = inputs[0].rank
        blocks: tuple[tuple[int, int], ...] = ((1, read), (0, write))
        if is_depthwise(inputs[0], self.channels, self.groups):
            blocks = ((0, write),)
        weight = Layout(tuple(range(rank)), tuple(block for block in blocks if block[1] > 1))
        return (weight, Layout.blocked(1, 0, write))[: 1 + self.bias]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        self.define_with(build, inputs, lambda o, i, value: value)

    def define_with(self, build: KernelBuilder, inputs: Sequence[Buffer], mask: Mask) -> None:
        """As `define`, with what the mask leaves of each value."""
        x, w = inputs[0], inputs[1]
        window = self.window(TensorType(x.shape, x.dtype, x.layout))
        per_group, outputs = x.shape[1] // self.groups, self.channels // self.groups
        letters = spatial_letters(len(window.kernel))
        with build.grid() as (n, o, *position):
            start: Expr = inputs[2][o] if self.bias else Const(0.0, x.dtype)
            total = build.register("acc", x.dtype, start)
            names = ("ic", *(f"k{letter}" for letter in letters))
            with build.loops(names, (per_group, *window.kernel), reduces=True) as (i, *tap):
                channel = input_channel(o, i, per_group, outputs, self.groups)
                value = build.padded(x, (n, channel, *window.position(position, tap)), 0.0)
                build.store(total, (), Fma(w[(o, i, *tap)], mask(o, i, value), total[()]))
            build.result((n, o, *position), total[()])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        same, causal = Padding("same"), Padding("causal")
        return (
            Sample(cls(1, (1,)), ((1, 1, 1, 1),)),
            Sample(cls(5, (3,), pad=same), ((2, 3, 7, 6),)),
            Sample(cls(4, (3,), stride=(2,), pad=same), ((1, 3, 8, 9),)),
            Sample(cls(4, (4,), pad=Padding("same_lower")), ((1, 2, 5, 5),)),
            Sample(cls(6, (3, 2), stride=(1, 3), dilation=(2, 1), groups=2), ((1, 4, 9, 8),)),
            Sample(cls(6, (3,), pad=Padding(explicit=((1, 2), (0, 3))), groups=6), ((2, 6, 5, 7),)),
            Sample(cls(8, (1,), stride=(3,), bias=False), ((1, 20, 7, 5),)),
            Sample(cls(3, (2,), dilation=(4,), pad=causal), ((2, 5, 13),)),
            Sample(cls(7, (5,), stride=(2,), pad=Padding(explicit=((6, 6),))), ((1, 3, 4),)),
            Sample(cls(34, (3,), pad=same), ((1, 19, 6, 17),)),
            Sample(cls(2, (2, 3, 2), pad=same), ((1, 3, 3, 4, 5),)),
        )
