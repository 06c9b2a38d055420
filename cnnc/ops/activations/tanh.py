"""The hyperbolic tangent."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import FUNCTION, Activation, bounded
from cnnc.ops.spec import Real, operator


@operator("tanh")
class Tanh(Activation):
    """Hyperbolic tangent of x."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.tanh(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("tanh", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1."""
        return bounded(unit, out, errors[0], slope=1, roundings=FUNCTION)
