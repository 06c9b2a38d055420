"""The exponential linear unit."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call, select
from cnnc.ops.attributes import Number
from cnnc.ops.pointwise import FUNCTION, Activation, bounded
from cnnc.ops.spec import Real, Sample, attr, operator


@operator("elu")
class Elu(Activation):
    """x where x ≥ 0, otherwise alpha * (exp(x) - 1); NaN and -0 are kept."""

    alpha: float = attr(Number(), doc="distance of the limit at -inf below zero", default=1.0)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        return np.where(x < 0, self.alpha * np.expm1(np.minimum(x, 0)), x)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        x = args[0]
        return select(x < 0, call("expm1", x) * self.alpha, x)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most |alpha| below zero; alpha is rounded."""
        slope = max(1, abs(self.alpha))
        return bounded(unit, out, errors[0], slope=slope, roundings=FUNCTION + 2)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (*super().samples(), Sample(cls(0.3), ((1, 3, 5),)), Sample(cls(-2.0), ((3, 4),)))
