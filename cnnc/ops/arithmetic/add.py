"""Sums of tensors."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnc.loop.expr import Expr
from cnnc.ops.arithmetic.folds import Fold
from cnnc.ops.spec import Real, Sample, operator


@operator("add", arity=(2, None))
class Add(Fold):
    """a + b + …"""

    ufunc: ClassVar[np.ufunc] = np.add

    def pair(self, left: Expr, right: Expr) -> Expr:
        """See Fold."""
        return left + right

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the operands' errors, and a rounding of each partial sum."""
        total, bound = inputs[0], errors[0]
        for operand, error in zip(inputs[1:], errors[1:], strict=True):
            total, bound = total + operand, bound + error
            bound = bound + unit * (np.abs(total) + bound)
        return bound

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1), (2, 1, 4, 5))),
            Sample(cls(), ((2, 3, 9), (9,))),
        )
