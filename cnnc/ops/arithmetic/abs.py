"""Absolute values."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import Activation
from cnnc.ops.spec import Real, operator


@operator("abs")
class Abs(Activation):
    """|x|: x without its sign, of -0 and NaN too."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.abs(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("abs", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, and never steeper than its operand."""
        return errors[0]
