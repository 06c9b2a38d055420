"""Activation functions."""

from collections.abc import Sequence
from math import erf, pi, sqrt

import numpy as np

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Const, Expr, call, compare, select
from cnnc.ops.attributes import Choice, Number
from cnnc.ops.pointwise import FUNCTION, Activation, bounded, clamp
from cnnc.ops.spec import Real, Sample, attr, operator


@operator("relu")
class Relu(Activation):
    """max(x, 0); NaN stays NaN."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.maximum(inputs[0], 0)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise: a NaN compares false and is kept."""
        zero = Const(0.0, args[0].dtype)
        return select(compare("lt", args[0], zero), zero, args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, and never steeper than its operand."""
        return errors[0]


@operator("leaky_relu")
class LeakyRelu(Activation):
    """x where x ≥ 0, otherwise slope * x."""

    slope: float = attr(Number(), doc="factor below zero", default=0.01)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.where(inputs[0] < 0, self.slope * inputs[0], inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        zero = Const(0.0, args[0].dtype)
        return select(args[0] < zero, args[0] * self.slope, args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the product and the slope itself are rounded."""
        return bounded(unit, out, errors[0], slope=max(1, abs(self.slope)), roundings=2)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (*super().samples(), Sample(cls(0.2), ((1, 3, 5),)), Sample(cls(-1.5), ((3, 4),)))


@operator("clip")
class Clip(Activation):
    """x kept between two numbers; NaN stays NaN."""

    low: float = attr(Number(), doc="least result")
    high: float = attr(Number(), doc="greatest result")

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        if self.low > self.high:
            raise OpError(
                "the limits are in the wrong order",
                at="high",
                note=f"low is {self.low:g}, high is {self.high:g}",
            )
        return super().infer(*inputs)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.clip(inputs[0], self.low, self.high)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return clamp(args[0], self.low, self.high)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: only the limits are rounded."""
        return bounded(unit, out, errors[0], slope=1, roundings=1)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(-0.5, 0.25), ((2, 3, 5),)),
            Sample(cls(0.0, 6.0), ((1, 17, 4, 3),)),
            Sample(cls(0.1, 0.1), ((1, 1),)),
        )


@operator("relu6")
class Relu6(Activation):
    """min(max(x, 0), 6); NaN stays NaN."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.clip(inputs[0], 0, 6)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return clamp(args[0], 0, 6)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, and never steeper than its operand."""
        return errors[0]


@operator("sigmoid")
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return logistic(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("sigmoid", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1/4."""
        return bounded(unit, out, errors[0], slope=0.25, roundings=FUNCTION)


@operator("tanh")
class Tanh(Activation):
    """Hyperbolic tangent of x."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.tanh(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("tanh", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1."""
        return bounded(unit, out, errors[0], slope=1, roundings=FUNCTION)


@operator("silu")
class Silu(Activation):
    """x * sigmoid(x), also called swish; NaN at -inf, as in PyTorch and ONNX Runtime."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return inputs[0] * logistic(inputs[0])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return args[0] * call("sigmoid", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1.0999, where x = 2.4."""
        return bounded(unit, out, errors[0], slope=1.1, roundings=FUNCTION + 2)


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


def logistic(x: Real) -> Real:
    """1 / (1 + exp(-x)), whose exp may overflow to the right result."""
    with np.errstate(over="ignore"):
        result: Real = 1 / (1 + np.exp(-x))
    return result
