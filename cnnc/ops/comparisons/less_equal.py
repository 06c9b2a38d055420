"""Where one tensor is not greater than another."""

from typing import ClassVar

import numpy as np

from cnnc.ops.comparisons.comparison import Comparison
from cnnc.ops.spec import operator


@operator("less_equal", arity=(2, 2))
class LessEqual(Comparison):
    """a ≤ b, element by element, as bool; false where either is NaN."""

    sign: ClassVar[str] = "le"
    ufunc: ClassVar[np.ufunc] = np.less_equal
