"""The natural logarithm."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import FUNCTION, Activation
from cnnc.ops.spec import Real, Sample, operator


@operator("log")
class Log(Activation):
    """The natural logarithm of x; -inf at ±0, NaN below."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("log", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: log(x) - log(x - error), infinite if x - error may not be positive."""
        x, error = inputs[0], errors[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            carried = -np.log1p(-error / x)
            bound = carried + FUNCTION * unit * (np.abs(out) + carried)
        return np.where(error < x, bound, np.inf)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return tuple(replace(sample, positive=True) for sample in super().samples())
