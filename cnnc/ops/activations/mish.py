"""Mish."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Const, Expr, call, select
from cnnc.ops.pointwise import FUNCTION, Activation, bounded
from cnnc.ops.spec import Real, operator


@operator("mish")
class Mish(Activation):
    """x * tanh(softplus(x)) = x * tanh(log(1 + exp(x))); NaN at -inf, as in PyTorch.

    tanh of a logarithm is a quotient: n / (n + 2) with n = e² + 2 e and e = exp(x). Where x ≥ 0
    both sides are divided by e², so that nothing overflows.
    """

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        e = np.exp(-np.abs(x))
        above = np.where(x < 0, e * (e + 2), 1 + 2 * e)
        with np.errstate(invalid="ignore"):
            y: Real = x * (above / (above + np.where(x < 0, 2, 2 * e**2)))
        return y

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        x = args[0]
        e = build.let("e", call("exp", -call("abs", x)))
        above = build.let("above", select(x < 0, e * (e + 2.0), e * 2.0 + 1.0))
        below = above + select(x < 0, Const(2.0, x.dtype), e * e * 2.0)
        return x * (above / below)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1.0885, where x = 1.5.

        The quotient changes by at most 4/3 of the relative error of e; nothing cancels.
        """
        return bounded(unit, out, errors[0], slope=1.089, roundings=2 * FUNCTION)
