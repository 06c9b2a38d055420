"""What operators that work element by element share."""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import ClassVar

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Call, Const, Expr, Load, select
from cnnc.loop.kernel import Let
from cnnc.loop.rewrite import parts
from cnnc.ops.broadcast import broadcast_shapes, load_broadcast
from cnnc.ops.spec import Blocking, Operator, Real, Sample, check_floats

FUNCTION = 8
"""Unit roundoffs in the 4 ulp that exp, log, tanh, erf, sigmoid and pow may be wrong by."""


class Pointwise(Operator):
    """One element of the result from the same element of each operand."""

    is_elementwise: ClassVar[bool] = True

    @abstractmethod
    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """The element of the result; `build.let` names what is used twice."""

    def has_call(self, dtype: DType, arity: int) -> bool:
        """Whether an element of the type takes an elementary function."""
        plain = Layout.plain(0)
        operands = [Buffer(f"x{position}", (), dtype, plain) for position in range(arity)]
        build = KernelBuilder(Buffer("y", (), dtype, plain), *operands)
        value = self.element(build, *(Load(operand, ()) for operand in operands))
        named = (stmt.value for stmt in build.body if isinstance(stmt, Let))
        return any(isinstance(part, Call) for each in (value, *named) for part in parts(each))

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
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

    def broadcasts(self, *inputs: TensorType) -> bool:
        """Whether the operands align as NumPy's do: a step of a fused tail reads them so."""
        return True

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator: the batch of an operand of lower rank lands on another axis."""
        rank = max(operand.rank for operand in inputs)
        return any(operand.rank < rank and prod(operand.shape[:1]) > 1 for operand in inputs)


class Activation(Pointwise):
    """A pointwise operator of one operand."""

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        op = cls()
        shapes = [(1, 1), (2, 33), (1, 5, 13), (2, 3, 5, 7), (1, 17, 1, 9)]
        return tuple(Sample(op, (shape,)) for shape in shapes)


def clamp(x: Expr, low: float, high: float) -> Expr:
    """`x` kept between two numbers; a NaN compares false and is kept."""
    lowest, highest = Const(low, x.dtype), Const(high, x.dtype)
    return select(x < lowest, lowest, select(x > highest, highest, x))


def bounded(unit: float, out: Real, error: Real, *, slope: float, roundings: int) -> Real:
    """Bound for a function that is at most `slope` steep and rounds `roundings` times.

    `error` is the operand's; the roundings are relative to the result.
    """
    carried = slope * error
    return carried + roundings * unit * (np.abs(out) + carried)


def logistic(x: Real) -> Real:
    """1 / (1 + exp(-x)), whose exp may overflow to the right result."""
    with np.errstate(over="ignore"):
        result: Real = 1 / (1 + np.exp(-x))
    return result
