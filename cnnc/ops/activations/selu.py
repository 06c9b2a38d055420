"""The scaled exponential linear unit."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call, select
from cnnc.ops.pointwise import FUNCTION, Activation, bounded
from cnnc.ops.spec import Real, operator

ALPHA = 1.6732632423543772848170429916717
SCALE = 1.0507009873554804934193349852946
"""Klambauer et al., "Self-normalizing neural networks" (NeurIPS 2017), equation 14."""


@operator("selu")
class Selu(Activation):
    """scale * x where x ≥ 0, otherwise scale * alpha * (exp(x) - 1).

    scale = 1.0507009873554805 and alpha = 1.6732632423543772; they are no attributes, as only
    these two keep mean 0 and variance 1 from layer to layer. NaN and -0 are kept.
    """

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        return SCALE * np.where(x < 0, ALPHA * np.expm1(np.minimum(x, 0)), x)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        x = args[0]
        return select(x < 0, call("expm1", x) * (SCALE * ALPHA), x * SCALE)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most scale * alpha < 1.76; the factors are rounded."""
        return bounded(unit, out, errors[0], slope=1.76, roundings=FUNCTION + 2)
