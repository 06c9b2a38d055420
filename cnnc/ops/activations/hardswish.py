"""Hard swish."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Activation, bounded, clamp
from cnnc.ops.spec import Real, operator


@operator("hardswish")
class Hardswish(Activation):
    """x * min(max(x + 3, 0), 6) / 6; NaN at -inf, as in PyTorch and ONNX Runtime."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return inputs[0] * np.clip(inputs[0] + 3, 0, 6) / 6

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        ramp = build.let("ramp", args[0] + 3.0)
        return args[0] * (1 / 6) * clamp(ramp, 0, 6)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1.5, where x = 3."""
        return bounded(unit, out, errors[0], slope=1.5, roundings=5)
