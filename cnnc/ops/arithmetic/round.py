"""Rounding to whole numbers."""

from collections.abc import Sequence

import numpy as np

from cnnc.base.dtype import DType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Const, Expr, call, select
from cnnc.ops.pointwise import Activation
from cnnc.ops.spec import Real, operator


@operator("round")
class Round(Activation):
    """The nearest whole number, of two equally near ones the even one; of -0.4 it is -0."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.rint(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise: above this number all are whole, so that a sum with it is rounded so."""
        x = args[0]
        whole = Const(2.0**52 if x.dtype is DType.F64 else 2.0**23, x.dtype)
        size = build.let("size", call("abs", x))
        near = call("copysign", (size + whole) - whole, x)
        return select(size < whole, near, x)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: how far the results at x ± error are apart."""
        x, error = inputs[0], errors[0]
        with np.errstate(invalid="ignore"):
            ends = [np.abs(np.rint(each) - out) for each in (x - error, x + error)]
        return np.where(error > 0, np.maximum(*ends), 0)
