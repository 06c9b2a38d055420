"""Products of tensors."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnc.loop.expr import Expr
from cnnc.ops.arithmetic.folds import Fold
from cnnc.ops.spec import Real, Sample, operator

UNDERFLOW = 2.0**-150
"""Largest rounding error of a subnormal float32, and more than that of a float64."""


@operator("mul", arity=(2, None))
class Mul(Fold):
    """a * b * …"""

    ufunc: ClassVar[np.ufunc] = np.multiply

    def pair(self, left: Expr, right: Expr) -> Expr:
        """See Fold."""
        return left * right

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: each factor's error times the other factor, and a rounding.

        A product of the first of them may be subnormal, where a rounding is not relative to it.
        """
        product, bound = np.abs(inputs[0]), errors[0]
        for operand, error in zip(inputs[1:], errors[1:], strict=True):
            factor = np.abs(operand)
            bound = product * error + factor * bound + bound * error
            product = product * factor
            bound = bound + np.maximum(unit * (product + bound), UNDERFLOW)
        return bound

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (2, 17, 1, 1))),
            Sample(cls(), ((2, 3, 9), (3, 1), (2, 1, 9))),
        )
