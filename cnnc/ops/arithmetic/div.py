"""Quotients of tensors."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Real, Sample, operator


@operator("div", arity=(2, 2))
class Div(Pointwise):
    """a / b; division by zero gives ±inf, or NaN for 0 / 0."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.divide(inputs[0], inputs[1])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return args[0] / args[1]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: (error a + |out| error b) / (|b| - error b), infinite if b may be zero."""
        smallest = np.abs(inputs[1]) - errors[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            carried = (errors[0] + np.abs(out) * errors[1]) / smallest
            rounded = carried + unit * (np.abs(out) + carried)
        return np.where(smallest > 0, rounded, np.inf)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1))),
            Sample(cls(), ((9,), (2, 3, 9))),
        )
