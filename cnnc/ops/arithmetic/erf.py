"""The error function."""

from collections.abc import Sequence
from math import erf, pi, sqrt

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import FUNCTION, Activation, bounded
from cnnc.ops.spec import Real, operator


@operator("erf")
class Erf(Activation):
    """The error function, 2 / √π times the integral of exp(-t²) from 0 to x."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        found: Real = np.vectorize(erf, otypes=[np.float64])(inputs[0])
        return found

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("erf", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 2 / √π."""
        return bounded(unit, out, errors[0], slope=2 / sqrt(pi), roundings=FUNCTION)
