"""The exponential function."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import FUNCTION, Activation
from cnnc.ops.spec import Real, operator


@operator("exp")
class Exp(Activation):
    """e to the power of x; 0 at -inf, and inf where the result is too large."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(over="ignore"):
            return np.exp(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("exp", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: an error of x is a factor."""
        with np.errstate(over="ignore", invalid="ignore"):
            carried = np.where(errors[0] > 0, out * np.expm1(errors[0]), 0)
            bound: Real = carried + FUNCTION * unit * (out + carried)
        return bound
