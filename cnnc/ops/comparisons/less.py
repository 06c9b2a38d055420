"""Where one tensor is less than another."""

from typing import ClassVar

import numpy as np

from cnnc.ops.comparisons.comparison import Comparison
from cnnc.ops.spec import operator


@operator("less", arity=(2, 2))
class Less(Comparison):
    """a < b, element by element, as bool; false where either is NaN."""

    sign: ClassVar[str] = "lt"
    ufunc: ClassVar[np.ufunc] = np.less
