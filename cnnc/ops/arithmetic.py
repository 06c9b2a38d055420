"""Arithmetic between tensors, with broadcasting."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Real, Sample, operator


@operator("add", arity=(2, None))
class Add(Pointwise):
    """a + b + …"""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        total = inputs[0]
        for operand in inputs[1:]:
            total = np.add(total, operand)
        return total

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        total = args[0]
        for operand in args[1:]:
            total = total + operand
        return total

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the operands' errors, and a rounding of each partial sum."""
        total, bound = inputs[0], errors[0]
        for operand, error in zip(inputs[1:], errors[1:], strict=True):
            total, bound = total + operand, bound + error
            bound = bound + unit * (np.abs(total) + bound)
        return bound

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1), (2, 1, 4, 5))),
            Sample(cls(), ((2, 3, 9), (9,))),
        )


@operator("mul", arity=(2, None))
class Mul(Pointwise):
    """a * b * …"""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        product = inputs[0]
        for operand in inputs[1:]:
            product = np.multiply(product, operand)
        return product

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        product = args[0]
        for operand in args[1:]:
            product = product * operand
        return product

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: each factor's error times the other factor, and a rounding."""
        product, bound = np.abs(inputs[0]), errors[0]
        for operand, error in zip(inputs[1:], errors[1:], strict=True):
            factor = np.abs(operand)
            bound = product * error + factor * bound + bound * error
            product = product * factor
            bound = bound + unit * (product + bound)
        return bound

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (2, 17, 1, 1))),
            Sample(cls(), ((2, 3, 9), (3, 1), (2, 1, 9))),
        )


@operator("sub", arity=(2, 2))
class Sub(Pointwise):
    """a - b."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.subtract(inputs[0], inputs[1])

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return args[0] - args[1]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the operands' errors and a rounding of the result."""
        carried = errors[0] + errors[1]
        return carried + unit * (np.abs(out) + carried)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((1, 17, 1, 1), (2, 17, 4, 5))),
        )


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
