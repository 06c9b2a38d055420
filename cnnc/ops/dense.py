"""Fully connected layers."""

from collections.abc import Sequence

import numpy as np

from cnnc.base.layout import Layout
from cnnc.ir.graph import Initial, OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, Fma
from cnnc.ops.attributes import Flag, Integer
from cnnc.ops.spec import (
    Blocking,
    Operator,
    ParameterSpec,
    Real,
    Sample,
    attr,
    check_floats,
    check_parameters,
    gamma,
    operator,
)


@operator("dense")
class Dense(Operator):
    """Fully connected layer: y[o] = bias[o] + sum over i of w[o, i] * x[i].

    Reads [N, F], writes [N, features]. Weights are [features, F].
    """

    features: int = attr(Integer(), doc="features of the result")
    bias: bool = attr(Flag(), doc="whether a bias is added", default=True)

    @property
    def sums_channels(self) -> bool:
        """See Operator."""
        return True

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        if x.rank != 2:
            raise OpError(
                "the operand is not [batch, features]",
                at=0,
                note=f"its shape is {list(x.shape)}",
                help="flatten first: -> flatten -> dense",
            )
        weight = TensorType.plain((self.features, x.shape[1]), x.dtype)
        initial = Initial("weight", x.shape[1], self.features)
        specs = [ParameterSpec("weight", weight, initial)]
        if self.bias:
            bias = TensorType.plain((self.features,), x.dtype)
            specs.append(ParameterSpec("bias", bias, Initial("zeros")))
        return tuple(specs)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        check_parameters(self, *inputs)
        return inputs[0].with_shape((inputs[0].shape[0], self.features))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        y: Real = np.einsum("ni,oi->no", inputs[0], inputs[1])
        return y + inputs[2] if self.bias else y

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: gamma(terms) (|w| * |x| + |b|), and |w| * error of x."""
        relative = gamma(inputs[1].shape[1] + 1, unit)
        size = self.reference(*(np.abs(value) for value in inputs))
        carried = errors[0] @ np.abs(inputs[1]).T
        return relative * size + carried * (1 + relative)

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator."""
        return out.elements * inputs[1].shape[1]

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return Blocking((lanes, 1), lanes)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator: [O/write][I/read][read][write]."""
        blocks = tuple(block for block in ((1, read), (0, write)) if block[1] > 1)
        return (Layout((0, 1), blocks), Layout.blocked(1, 0, write))[: 1 + self.bias]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x, w = inputs[0], inputs[1]
        with build.grid() as (n, o):
            start: Expr = inputs[2][o] if self.bias else Const(0.0, x.dtype)
            total = build.register("acc", x.dtype, start)
            with build.loop("ic", x.shape[1], reduces=True) as i:
                build.store(total, (), Fma(w[o, i], x[n, i], total[()]))
            build.result((n, o), total[()])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(1), ((1, 1),)),
            Sample(cls(10), ((2, 33),)),
            Sample(cls(17, bias=False), ((3, 7),)),
            Sample(cls(48), ((1, 64),)),
        )
