"""The continuously differentiable exponential linear unit."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call, select
from cnnc.ops.attributes import Number
from cnnc.ops.pointwise import FUNCTION, Activation, bounded
from cnnc.ops.spec import Real, Sample, attr, operator


@operator("celu")
class Celu(Activation):
    """x where x ≥ 0, otherwise alpha * (exp(x / alpha) - 1); NaN and -0 are kept.

    Its slope is 1 on both sides of zero for every alpha, unlike that of `elu`.
    """

    alpha: float = attr(Number(above=0), doc="distance of the limit at -inf below 0", default=1.0)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        return np.where(x < 0, self.alpha * np.expm1(np.minimum(x, 0) / self.alpha), x)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        x = args[0]
        return select(x < 0, call("expm1", x / self.alpha) * self.alpha, x)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1; alpha is rounded twice, so is the quotient."""
        return bounded(unit, out, errors[0], slope=1, roundings=FUNCTION + 5)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (*super().samples(), Sample(cls(0.3), ((1, 3, 5),)), Sample(cls(4.0), ((3, 4),)))
