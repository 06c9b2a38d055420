"""Transposition."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.attributes import Kind, Value, whole
from cnnc.ops.movement.movement import Movement, any_block
from cnnc.ops.spec import Blocking, Real, Sample, attr, operator


@dataclass(frozen=True)
class OrderKind(Kind[tuple[int, ...]]):
    """A list of the axes 0, 1, … in any order."""

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        parts = value if isinstance(value, tuple) else ()
        found = tuple(n for n in map(whole, parts) if n is not None)
        if not parts or sorted(found) != list(range(len(parts))):
            raise self.refuse(value)
        return found

    def describe(self) -> str:
        """See Kind."""
        return "a list with each axis once, as [0, 2, 1]"


@operator("transpose")
class Transpose(Movement):
    """The axes in another order: axis i of the result is axis order[i] of the operand.

    Axis 0 is the batch: an order that moves it mixes samples. Shuffling channels in g groups is
    `reshape([0, g, x.channels // g, -1]) -> transpose([0, 2, 1, 3]) -> reshape(x.shape)`.
    """

    order: tuple[int, ...] = attr(OrderKind(), doc="axes of the operand, as the result has them")

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        shape = inputs[0].shape
        if len(self.order) != len(shape):
            raise OpError(
                f"{len(self.order)} axes for an operand with {len(shape)}",
                at="order",
                note=f"the operand's shape is {list(shape)}",
                help="name every axis, the batch too",
            )
        return inputs[0].with_shape(tuple(shape[axis] for axis in self.order))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return inputs[0].transpose(self.order)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        places = [int(place) for place in np.argsort(self.order)]
        with build.grid() as index:
            build.result(index, inputs[0][tuple(index[place] for place in places)])

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: only orders that leave the channels where they are keep blocks."""
        if self.order[:2] == (0, 1):
            return Blocking((lanes, 1), lanes, follows=True)
        return any_block(inputs[0])

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        return self.order[0] != 0

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        cases = [
            ((0,), (1,)),
            ((0, 2, 1), (2, 3, 5)),
            ((0, 2, 3, 1), (2, 17, 3, 5)),
            ((0, 3, 1, 2), (1, 5, 4, 32)),
            ((0, 1, 3, 2), (2, 17, 3, 18)),
            ((0, 2, 1, 3, 4), (1, 4, 8, 3, 1)),
            ((1, 0), (3, 4)),
        ]
        return tuple(Sample(cls(order), (shape,)) for order, shape in cases)
