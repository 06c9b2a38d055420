"""One of two tensors, element by element."""

from collections.abc import Sequence

import numpy as np

from cnnc.base.dtype import DType
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, select
from cnnc.ops.broadcast import broadcast_shapes
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Real, Sample, operator


@operator("where", arity=(3, 3))
class Where(Pointwise):
    """`where(holds, a, b)`: a where the first tensor, of bool, is true, otherwise b."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator: any element type, the same for what is chosen from."""
        holds, left, right = inputs
        if holds.dtype is not DType.BOOL:
            help = "compare: `less(x, 0)`, or cast it: `-> cast(bool)`"
            raise OpError(f"a condition is bool, not {holds.dtype}", at=0, help=help)
        if left.dtype is not right.dtype:
            raise OpError(f"operands are {left.dtype} and {right.dtype}", at=2)
        return left.with_shape(broadcast_shapes([each.shape for each in inputs]))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.where(*inputs)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return select(*args)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the chosen one's; where the condition is uncertain, how far they differ."""
        holds, a, b = inputs
        own = np.where(holds, errors[1], errors[2])
        with np.errstate(invalid="ignore"):
            apart = np.abs(a.astype(np.float64) - b.astype(np.float64)) + errors[1] + errors[2]
        return np.where(errors[0] > 0, apart, own)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        floats = (DType.BOOL, DType.F32, DType.F32)
        return (
            Sample(cls(), ((1, 1), (1, 1), (1, 1)), floats),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7), (2, 3, 5, 7)), floats),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1), (2, 1, 4, 5)), floats),
            Sample(cls(), ((2, 1, 9), (2, 3, 9), (9,)), (DType.BOOL, DType.I64, DType.I64)),
        )
