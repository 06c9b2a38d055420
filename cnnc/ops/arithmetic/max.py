"""The largest of several tensors, element by element."""

from typing import ClassVar

import numpy as np

from cnnc.loop.build import maximum
from cnnc.loop.expr import Expr
from cnnc.ops.arithmetic.folds import Extremum
from cnnc.ops.spec import operator


@operator("max", arity=(2, None))
class Max(Extremum):
    """The largest of two or more tensors or numbers, element by element, with broadcasting.

    NaN if any of them is NaN. Of 0 and -0 it may be either.
    """

    ufunc: ClassVar[np.ufunc] = np.maximum

    def pair(self, left: Expr, right: Expr) -> Expr:
        """See Fold."""
        return maximum(left, right)
