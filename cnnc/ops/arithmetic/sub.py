"""Differences of tensors."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Real, Sample, operator


@operator("sub", arity=(2, 2))
class Sub(Pointwise):
    """a - b."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.subtract(inputs[0], inputs[1])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return args[0] - args[1]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the operands' errors and a rounding of the result."""
        carried = errors[0] + errors[1]
        return carried + unit * (np.abs(out) + carried)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((1, 17, 1, 1), (2, 17, 4, 5))),
        )
