"""Square roots."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import Activation
from cnnc.ops.spec import Real, Sample, operator


@operator("sqrt")
class Sqrt(Activation):
    """√x; NaN below zero, and √-0 is -0."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("sqrt", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: √x - √(x - error), infinite if x - error may be negative; a rounding."""
        x, error = inputs[0], errors[0]
        with np.errstate(invalid="ignore"):
            carried = out - np.sqrt(np.maximum(x - error, 0))
        return np.where(x >= error, carried + unit * (np.abs(out) + carried), np.inf)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return tuple(replace(sample, positive=True) for sample in super().samples())
