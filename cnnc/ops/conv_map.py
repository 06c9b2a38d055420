"""Convolution by a connection table; made by the compiler, not part of the language."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from cnnc.base.layout import Layout
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Compare, Const, Expr, Select
from cnnc.ops.conv import Conv
from cnnc.ops.spec import Blocking, Nest, Operator, ParameterSpec, Real, Sample


@dataclass(frozen=True)
class ConvMap(Operator):
    """A convolution each channel of which sees some of the input's channels only.

    As in C3 of LeNet-5: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to
    Document Recognition" (Proceedings of the IEEE, 1998), table I. Its last operand is the table
    [channels, C] of the input's type: 1 where a channel of the result sees one of the input,
    otherwise 0. What is not seen leaves no trace, NaN and infinities neither; its weight is -0.0,
    so that sums of it and zeros keep their sign.
    """

    conv: Conv

    name = "conv_map"
    is_convolution: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """See Operator."""
        return self.conv.label.replace(Conv.name, self.name, 1)

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        kind = TensorType.plain((self.conv.channels, inputs[0].channels), inputs[0].dtype)
        table = ParameterSpec("table", kind, Initial("ones"), statistic=True)
        return (*self.conv.parameters(*inputs), table)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        return self.conv.infer(*inputs[:-1])

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return self._by_rows(lambda conv, x, *rest: conv.reference(x, *rest), inputs, inputs[:1])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: as many additions as without the table."""

        def bound(conv: Conv, x: Real, moved: Real, *rest: Real) -> Real:
            zeros = [np.zeros(()) for _ in rest]
            return conv.error(unit, out, (x, *rest), (moved, *zeros))

        return self._by_rows(bound, inputs, (inputs[0], errors[0]))

    def _by_rows(
        self, compute: Callable[..., Real], inputs: Sequence[Real], over: Sequence[Real]
    ) -> Real:
        """The result, computed for the channels together that see the same."""
        *rest, table = inputs[1:]
        rows, row_of = np.unique(table != 0, axis=0, return_inverse=True)
        row_of = row_of.reshape(-1)
        x = TensorType.plain(inputs[0].shape)
        window = self.conv.window(x)
        y = np.zeros((x.shape[0], self.conv.channels, *window.out))
        for number, seen in enumerate(rows):
            ours = row_of == number
            conv = replace(self.conv, channels=int(ours.sum()))
            weight, *bias = (value[ours] for value in rest)
            y[:, ours] = compute(conv, *(value[:, seen] for value in over), weight[:, seen], *bias)
        return y

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator: with those that the table leaves out, which are computed too."""
        return self.conv.macs(out, *inputs)

    def halo(self, *inputs: TensorType) -> tuple[tuple[int, int], ...]:
        """See Operator."""
        return self.conv.halo(*inputs)

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        return replace(self.conv.nest(out, *inputs), temporaries=1)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return self.conv.blocking(lanes, *inputs)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator: the table as the weights of one tap."""
        blocks = tuple(block for block in ((1, read), (0, write)) if block[1] > 1)
        return (*self.conv.packing(read, write, *inputs), Layout((0, 1), blocks))

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        table = inputs[-1]

        def seen(o: Expr, i: Expr, value: Expr) -> Expr:
            zero = Const(0.0, value.dtype)
            return Select(Compare("ne", table[o, i], zero), value, zero)

        self.conv.define_with(build, inputs[:-1], seen)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """It has no name in the language: see tests/ops/test_conv_map.py."""
        return ()
