"""The logistic function as an operator."""

from collections.abc import Sequence

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import FUNCTION, Activation, bounded, logistic
from cnnc.ops.spec import Real, operator


@operator("sigmoid")
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return logistic(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("sigmoid", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1/4."""
        return bounded(unit, out, errors[0], slope=0.25, roundings=FUNCTION)
