"""Softsign."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import Activation, bounded
from cnnc.ops.spec import Real, operator


@operator("softsign")
class Softsign(Activation):
    """x / (1 + |x|); NaN at ±inf, as in PyTorch and ONNX Runtime, where the limit would be ±1."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(invalid="ignore"):
            y: Real = inputs[0] / (1 + np.abs(inputs[0]))
        return y

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return args[0] / (call("abs", args[0]) + 1.0)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1."""
        return bounded(unit, out, errors[0], slope=1, roundings=2)
