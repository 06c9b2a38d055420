"""Softplus."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder, maximum
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import FUNCTION, Activation, bounded
from cnnc.ops.spec import Real, operator


@operator("softplus")
class Softplus(Activation):
    """log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|)), which never overflows.

    It has no attributes, as in ONNX. PyTorch's beta is `x * beta -> softplus` divided by beta; its
    threshold = 20 returns x above it, which changes a result by 2 * 10⁻⁹ at most.
    """

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        x = args[0]
        return maximum(x, 0) + call("log1p", call("exp", -call("abs", x)))

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1; exp and log1p, and their sum."""
        return bounded(unit, out, errors[0], slope=1, roundings=2 * FUNCTION + 1)
