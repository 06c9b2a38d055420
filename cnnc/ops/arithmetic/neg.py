"""Changed signs."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Activation
from cnnc.ops.spec import Real, operator


@operator("neg")
class Neg(Activation):
    """-x, which a sign before a tensor stands for; -0 for 0."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.negative(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return -args[0]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact."""
        return errors[0]
