"""What comparisons share."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnc.base.dtype import DType
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, compare
from cnnc.ops.broadcast import broadcast_shapes
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Real, Sample


class Comparison(Pointwise):
    """Whether something holds between two elements; false where one of them is NaN."""

    sign: ClassVar[str]
    """The comparison in the loop language."""
    ufunc: ClassVar[np.ufunc]
    """The comparison in NumPy."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator: any element type, the same for both."""
        left, right = inputs
        if left.dtype is not right.dtype:
            raise OpError(f"operands are {left.dtype} and {right.dtype}", at=1)
        return TensorType.plain(broadcast_shapes([left.shape, right.shape]), DType.BOOL)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        holds: Real = self.ufunc(*inputs)
        return holds

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return compare(self.sign, *args)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: uncertain where the errors reach from one operand to the other."""
        a, b = (each.astype(np.float64) for each in inputs)
        reach = errors[0] + errors[1]
        with np.errstate(invalid="ignore"):
            close: Real = ((np.abs(a - b) <= reach) & (reach > 0)).astype(np.float64)
        return close

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1))),
            Sample(cls(), ((9,), (2, 3, 9)), (DType.I64, DType.I64)),
            Sample(cls(), ((1, 5, 3), (1, 5, 3)), (DType.U8, DType.U8)),
        )
