"""Locally connected layers: convolution whose weights are not shared between positions."""

from collections.abc import Sequence
from math import prod

import numpy as np

from cnnc.base.layout import Layout
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, spatial_letters
from cnnc.loop.expr import Buffer, Const, Expr, Fma
from cnnc.ops.attributes import Extents, Flag, Integer, Padding, PaddingKind
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


@operator("unshared")
class Unshared(Operator):
    """Convolution with weights of its own at every position p of the result:
    y[o, p] = bias[o, p] + sum over i, k of w[o, i, p, k] * x[i, p * stride + k * dilation].

    Reads [N, C, *spatial], writes [N, channels, *out]. Weights are
    [channels, C / groups, *out, *kernel], the bias is [channels, *out].
    """

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
        window = self.window(x)
        each = (self.channels, x.channels // self.groups, *window.kernel)
        weight = TensorType.plain((*each[:2], *window.out, *window.kernel), x.dtype)
        specs = [ParameterSpec("weight", weight, Initial("weight", *fan(each, self.groups)))]
        if self.bias:
            bias = TensorType.plain((self.channels, *window.out), x.dtype)
            specs.append(ParameterSpec("bias", bias, Initial("zeros")))
        return tuple(specs)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        check_floats(inputs)
        check_parameters(self, *inputs)
        return x.with_shape((x.shape[0], self.channels, *self.window(x).out))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x, w = inputs[0], inputs[1]
        window = self.window(TensorType.plain(x.shape))
        (n, c), groups, rank = x.shape[:2], self.groups, len(window.out)
        count = prod(window.out)
        weights = w.reshape(groups, self.channels // groups, c // groups, count, *window.kernel)
        by_tap = np.moveaxis(weights, range(4, 4 + rank), range(rank))
        y: Real = np.zeros((n, groups, self.channels // groups, count))
        for tap, under in window.taps(x, 0.0):
            values = under.reshape(n, groups, c // groups, count)
            y += np.einsum("goip,ngip->ngop", by_tap[tap], values)
        y = y.reshape(n, self.channels, *window.out)
        return y + inputs[2] if self.bias else y

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator."""
        kernel = self.window(TensorType.plain(inputs[0].shape)).kernel
        terms = inputs[1].shape[1] * prod(kernel) + 1
        return convolution_error(self, terms, unit, inputs, errors)

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator: as many as weights, for every sample."""
        return out.shape[0] * inputs[1].elements

    def halo(self, *inputs: TensorType) -> tuple[tuple[int, int], ...]:
        """See Operator."""
        return ((0, 0), (0, 0), *self.window(inputs[0]).halo(inputs[0].spatial))

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        x = inputs[0]
        return Nest(
            out.spatial,
            groups=self.groups,
            per_channel=is_depthwise(x, self.channels, self.groups),
            strided=max(self.stride) > 1,
            taps=self.window(x).kernel[-1],
            own_weights=True,
        )

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return channel_blocking(inputs[0], self.channels, self.groups, lanes)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator: [O/write][*out][I/read][*kernel][read][write], as they are multiplied."""
        spatial = len(inputs[0].spatial)
        outs, kernels = range(2, 2 + spatial), range(2 + spatial, 2 + 2 * spatial)
        blocks: tuple[tuple[int, int], ...] = ((1, read), (0, write))
        if is_depthwise(inputs[0], self.channels, self.groups):
            blocks = ((0, write),)
        weight = Layout((0, *outs, 1, *kernels), tuple(block for block in blocks if block[1] > 1))
        return (weight, Layout.blocked(1 + spatial, 0, write))[: 1 + self.bias]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x, w = inputs[0], inputs[1]
        window = self.window(TensorType(x.shape, x.dtype, x.layout))
        per_group, outputs = x.shape[1] // self.groups, self.channels // self.groups
        names = ("ic", *(f"k{letter}" for letter in spatial_letters(len(window.kernel))))
        with build.grid() as (n, o, *position):
            start: Expr = inputs[2][(o, *position)] if self.bias else Const(0.0, x.dtype)
            total = build.register("acc", x.dtype, start)
            with build.loops(names, (per_group, *window.kernel), reduces=True) as (i, *tap):
                channel = input_channel(o, i, per_group, outputs, self.groups)
                value = build.padded(x, (n, channel, *window.position(position, tap)), 0.0)
                build.store(total, (), Fma(w[(o, i, *position, *tap)], value, total[()]))
            build.result((n, o, *position), total[()])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        same, uneven = Padding("same"), Padding(explicit=((1, 2), (0, 3)))
        return (
            Sample(cls(1, (1,)), ((1, 1, 1, 1),)),
            Sample(cls(5, (3,), pad=same), ((2, 3, 4, 5),)),
            Sample(cls(18, (3,), (2,), same, bias=False), ((1, 17, 5, 7),)),
            Sample(cls(4, (3, 2), (1, 3), dilation=(2, 1), groups=2), ((2, 4, 7, 8),)),
            Sample(cls(6, (2,), pad=uneven, groups=6), ((1, 6, 3, 4),)),
            Sample(cls(32, (2,), pad=Padding("same_lower"), groups=2), ((1, 8, 3, 3),)),
            Sample(cls(3, (2,), pad=Padding("causal"), dilation=(3,)), ((2, 2, 9),)),
            Sample(cls(2, (2, 1, 2), (1, 2, 1)), ((1, 3, 3, 3, 3),)),
        )
