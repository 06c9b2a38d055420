"""The rectifier."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Const, Expr, compare, select
from cnnc.ops.pointwise import Activation
from cnnc.ops.spec import Real, operator


@operator("relu")
class Relu(Activation):
    """max(x, 0); NaN stays NaN."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.maximum(inputs[0], 0)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise: a NaN compares false and is kept."""
        zero = Const(0.0, args[0].dtype)
        return select(compare("lt", args[0], zero), zero, args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, and never steeper than its operand."""
        return errors[0]
