"""The smallest of several tensors, element by element."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, minimum
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Real, Sample, operator


@operator("min", arity=(2, None))
class Min(Pointwise):
    """The smallest of two or more tensors or numbers, element by element, with broadcasting.

    NaN if any of them is NaN. Of 0 and -0 it may be either.
    """

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        chosen = inputs[0]
        for operand in inputs[1:]:
            chosen = np.minimum(chosen, operand)
        return chosen

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        chosen = args[0]
        for operand in args[1:]:
            chosen = minimum(chosen, operand)
        return chosen

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, and never off by more than the worst operand."""
        bound = errors[0]
        for error in errors[1:]:
            bound = np.maximum(bound, error)
        return bound

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1), (2, 1, 4, 5))),
            Sample(cls(), ((9,), (2, 3, 9))),
        )
