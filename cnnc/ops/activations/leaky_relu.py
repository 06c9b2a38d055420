"""The leaky rectifier."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Const, Expr, select
from cnnc.ops.attributes import Number
from cnnc.ops.pointwise import Activation, bounded
from cnnc.ops.spec import Real, Sample, attr, operator


@operator("leaky_relu")
class LeakyRelu(Activation):
    """x where x ≥ 0, otherwise slope * x."""

    slope: float = attr(Number(), doc="factor below zero", default=0.01)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.where(inputs[0] < 0, self.slope * inputs[0], inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        zero = Const(0.0, args[0].dtype)
        return select(args[0] < zero, args[0] * self.slope, args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the product and the slope itself are rounded."""
        return bounded(unit, out, errors[0], slope=max(1, abs(self.slope)), roundings=2)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (*super().samples(), Sample(cls(0.2), ((1, 3, 5),)), Sample(cls(-1.5), ((3, 4),)))
