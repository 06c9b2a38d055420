"""Clipping to a range."""

from collections.abc import Sequence

import numpy as np

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.attributes import Number
from cnnc.ops.pointwise import Activation, bounded, clamp
from cnnc.ops.spec import Real, Sample, attr, operator


@operator("clip")
class Clip(Activation):
    """x kept between two numbers; NaN stays NaN."""

    low: float = attr(Number(), doc="least result")
    high: float = attr(Number(), doc="greatest result")

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        if self.low > self.high:
            raise OpError(
                "the limits are in the wrong order",
                at="high",
                note=f"low is {self.low:g}, high is {self.high:g}",
            )
        return super().infer(*inputs)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.clip(inputs[0], self.low, self.high)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return clamp(args[0], self.low, self.high)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: only the limits are rounded."""
        return bounded(unit, out, errors[0], slope=1, roundings=1)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(-0.5, 0.25), ((2, 3, 5),)),
            Sample(cls(0.0, 6.0), ((1, 17, 4, 3),)),
            Sample(cls(0.1, 0.1), ((1, 1),)),
        )
