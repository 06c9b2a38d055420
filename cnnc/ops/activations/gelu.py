"""The Gaussian error linear unit."""

from collections.abc import Sequence
from math import erf, pi, sqrt

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.attributes import Choice
from cnnc.ops.pointwise import FUNCTION, Activation
from cnnc.ops.spec import Real, Sample, attr, operator


@operator("gelu")
class Gelu(Activation):
    """x * P(X ≤ x) of a normal X: x / 2 * (1 + erf(x / √2)); NaN at -inf, as in PyTorch.

    `approximate = tanh` puts tanh(√(2/π) * (x + 0.044715 x³)) in place of erf(x / √2).
    """

    approximate: str = attr(Choice(("none", "tanh")), doc="replacement for erf", default="none")

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        if self.approximate == "tanh":
            sign: Real = np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))
        else:
            sign = np.vectorize(erf, otypes=[np.float64])(x / sqrt(2))
        return x / 2 * (1 + sign)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        x = args[0]
        if self.approximate == "tanh":
            inner = x * sqrt(2 / pi) * (x * x * 0.044715 + 1.0)
            return x * 0.5 * (call("tanh", inner) + 1.0)
        return x * 0.5 * (call("erf", x * sqrt(1 / 2)) + 1.0)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1.13.

        erf and tanh are good to FUNCTION roundings of a value up to 1, and up to 3 more come from
        their argument; below zero, 1 + erf cancels, so these are relative to x / 2, not to `out`.
        """
        carried = 1.13 * errors[0]
        cancelled = (np.abs(inputs[0]) + errors[0]) / 2
        return carried + unit * ((FUNCTION + 3) * cancelled + 3 * (np.abs(out) + carried))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (*super().samples(), Sample(cls("tanh"), ((2, 3, 5, 7),)))
