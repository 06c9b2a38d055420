"""The sigmoid linear unit."""

from collections.abc import Sequence

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import FUNCTION, Activation, bounded, logistic
from cnnc.ops.spec import Real, operator


@operator("silu")
class Silu(Activation):
    """x * sigmoid(x), also called swish; NaN at -inf, as in PyTorch and ONNX Runtime."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return inputs[0] * logistic(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("silu", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1.0999, where x = 2.4."""
        return bounded(unit, out, errors[0], slope=1.1, roundings=FUNCTION + 2)
