"""Operators that work element by element, with broadcasting."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, call, compare, select
from cnnc.ops.broadcast import broadcast_shapes, load_broadcast
from cnnc.ops.spec import Blocking, Operator, Real, Sample, operator


class Pointwise(Operator):
    """One element of the result from the same element of each operand."""

    @abstractmethod
    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """The element of the result; `build.let` names what is used twice."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        for position, operand in enumerate(inputs):
            if operand.dtype != inputs[0].dtype:
                raise OpError(
                    f"operands are {inputs[0].dtype} and {operand.dtype}",
                    at=position,
                )
        return inputs[0].with_shape(broadcast_shapes([operand.shape for operand in inputs]))

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        with build.grid() as index:
            args = [load_broadcast(operand, index) for operand in inputs]
            build.result(index, self.element(build, *args))

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return Blocking((lanes, 1), lanes, follows=True)


class Activation(Pointwise):
    """A pointwise operator of one operand."""

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        op = cls()
        shapes = [(1, 1), (2, 33), (1, 5, 13), (2, 3, 5, 7), (1, 17, 1, 9)]
        return tuple(Sample(op, (shape,)) for shape in shapes)


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


@operator("sigmoid")
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(over="ignore"):
            result: Real = 1 / (1 + np.exp(-inputs[0]))
        return result

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("sigmoid", args[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope is at most 1/4; the function itself is good to 4 ulp."""
        return errors[0] / 4 + 8 * unit * np.abs(out)


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
        size: Real = np.asarray(sum(np.abs(operand) for operand in inputs), np.float64)
        carried: Real = np.asarray(sum(errors), np.float64)
        return carried + (len(inputs) - 1) * unit * (size + carried)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1), (2, 1, 4, 5))),
            Sample(cls(), ((2, 3, 9), (9,))),
        )
