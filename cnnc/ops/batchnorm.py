"""Batch normalisation with trained statistics."""

from collections.abc import Sequence

import numpy as np

from cnnc.base.layout import Layout
from cnnc.ir.graph import Initial, OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, call
from cnnc.ops.attributes import Number
from cnnc.ops.spec import (
    Blocking,
    Operator,
    ParameterSpec,
    Real,
    Sample,
    attr,
    check_floats,
    check_parameters,
    operator,
)


@operator("batchnorm")
class BatchNorm(Operator):
    """Normalisation of each channel: y = (x - mean) / √(var + eps) * weight + bias.

    Reads [N, C, *spatial] or [N, C]. All four parameters are [C]; `mean` and `var` are
    statistics gathered in training, and not counted as trained.
    """

    eps: float = attr(Number(minimum=0), doc="added to the variance", default=1e-5)

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        if x.rank < 2:
            raise OpError("the operand has no channels", at=0, note=f"its shape is {list(x.shape)}")
        each = TensorType.plain((x.channels,), x.dtype)
        first = {"weight": "ones", "bias": "zeros", "mean": "zeros", "var": "ones"}
        return tuple(
            ParameterSpec(name, each, Initial(kind), statistic=name in ("mean", "var"))
            for name, kind in first.items()
        )

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        check_parameters(self, *inputs)
        return inputs[0].with_shape(inputs[0].shape)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x, (weight, bias, mean, var) = inputs[0], _per_channel(inputs)
        return (x - mean) / np.sqrt(var + self.eps) * weight + bias

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x, weight, bias, mean, var = inputs
        with build.grid() as (n, c, *position):
            scale = weight[c] / call("sqrt", var[c] + self.eps)
            build.result((n, c, *position), (x[(n, c, *position)] - mean[c]) * scale + bias[c])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: six roundings of the scaled difference, one of the result.

        Errors of `weight` and `var` are taken to be zero, as they are for stored weights.
        """
        x, (weight, _, mean, var) = inputs[0], _per_channel(inputs)
        _, bias_error, mean_error, _ = _per_channel(errors)
        scale = np.abs(weight) / np.sqrt(var + self.eps)
        moved = errors[0] + mean_error
        carried = scale * moved + bias_error
        scaled = scale * (np.abs(x - mean) + moved)
        return carried + unit * (6 * scaled + np.abs(out) + carried)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return Blocking((lanes, 1), lanes, follows=True)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator."""
        return (Layout.blocked(1, 0, write),) * 4

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1),)),
            Sample(cls(), ((3, 19),)),
            Sample(cls(0.1), ((2, 3, 5, 7),)),
            Sample(cls(), ((1, 17, 9),)),
            Sample(cls(), ((1, 32, 2, 3),)),
        )


def _per_channel(operands: Sequence[Real]) -> list[Real]:
    """The parameters, shaped to broadcast along the channels of operand 0."""
    spatial = (1,) * (operands[0].ndim - 2)
    return [value.reshape(-1, *spatial) for value in operands[1:]]
