"""The smallest of several tensors, element by element."""

from typing import ClassVar

import numpy as np

from cnnc.loop.build import minimum
from cnnc.loop.expr import Expr
from cnnc.ops.arithmetic.folds import Extremum
from cnnc.ops.spec import operator


@operator("min", arity=(2, None))
class Min(Extremum):
    """The smallest of two or more tensors or numbers, element by element, with broadcasting.

    NaN if any of them is NaN. Of 0 and -0 it may be either.
    """

    ufunc: ClassVar[np.ufunc] = np.minimum

    def pair(self, left: Expr, right: Expr) -> Expr:
        """See Fold."""
        return minimum(left, right)
