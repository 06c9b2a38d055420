"""Where two tensors are equal."""

from typing import ClassVar

import numpy as np

from cnnc.ops.comparisons.comparison import Comparison
from cnnc.ops.spec import operator


@operator("equal", arity=(2, 2))
class Equal(Comparison):
    """a = b, element by element, as bool; NaN equals nothing, and 0 equals -0."""

    sign: ClassVar[str] = "eq"
    ufunc: ClassVar[np.ufunc] = np.equal
