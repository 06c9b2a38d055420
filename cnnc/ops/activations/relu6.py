"""The rectifier up to six."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Activation, clamp
from cnnc.ops.spec import Real, operator


@operator("relu6")
class Relu6(Activation):
    """min(max(x, 0), 6); NaN stays NaN."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.clip(inputs[0], 0, 6)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return clamp(args[0], 0, 6)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, and never steeper than its operand."""
        return errors[0]
