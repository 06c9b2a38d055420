"""The logistic function in straight lines."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.attributes import Number
from cnnc.ops.pointwise import Activation, clamp
from cnnc.ops.spec import Real, Sample, attr, operator


@operator("hard_sigmoid")
class HardSigmoid(Activation):
    """alpha * x + beta kept between 0 and 1; NaN stays NaN.

    The defaults are PyTorch's relu6(x + 3) / 6, with which x * hard_sigmoid(x) is `hardswish`.
    ONNX and Keras 2 have alpha = 0.2 by default, which is another function.
    """

    alpha: float = attr(Number(), doc="slope", default=1 / 6)
    beta: float = attr(Number(), doc="value at x = 0", default=0.5)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(invalid="ignore"):
            return np.clip(self.alpha * inputs[0] + self.beta, 0, 1)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        line = build.let("line", args[0] * self.alpha + self.beta)
        return clamp(line, 0, 1)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the error of the straight line, none where it is well outside 0 to 1."""
        with np.errstate(invalid="ignore"):
            line = self.alpha * inputs[0] + self.beta
            carried = abs(self.alpha) * errors[0]
            product = np.abs(self.alpha * inputs[0]) + carried
            bound = carried + unit * (3 * product + 2 * abs(self.beta))
            outside = np.maximum(line - 1, -line) > bound
        return np.where(outside | np.isinf(line), 0, bound)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        more = Sample(cls(0.2), ((1, 3, 5),)), Sample(cls(-1.0, 0.25), ((3, 4),))
        return (*super().samples(), *more)
