"""Concatenation."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from cnnc.base.layout import channel_block
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, grid_names
from cnnc.loop.expr import Buffer
from cnnc.ops.attributes import Axis
from cnnc.ops.axes import resolve_axis
from cnnc.ops.permuted_blocks import Element, Source, permute_blocks
from cnnc.ops.spec import PLAIN, Blocking, Operator, Real, Sample, attr, operator


@operator("concat", arity=(2, None))
class Concat(Operator):
    """The operands one after the other along an axis; their other extents are equal."""

    axis: int = attr(Axis(), doc="axis along which the operands follow each other", default=1)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        first = inputs[0]
        axis = resolve_axis(self.axis, first.rank)
        for position, operand in enumerate(inputs):
            if operand.dtype != first.dtype:
                raise OpError(f"operands are {first.dtype} and {operand.dtype}", at=position)
            if _others(operand, axis) != _others(first, axis):
                raise OpError(
                    "the shapes do not match",
                    at=position,
                    note=f"{list(operand.shape)} against {list(first.shape)}",
                    help=f"only axis {axis} may differ",
                )
        total = sum(operand.shape[axis] for operand in inputs)
        return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return np.concatenate(inputs, axis=self.axis)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: operand by operand, each where the one before it ends."""
        axis = resolve_axis(self.axis, len(build.out.shape))
        starts = accumulate((operand.shape[axis] for operand in inputs), initial=0)
        if self.permuted_vectors(build.out.layout.block(1), *inputs):
            pairs = zip(starts, inputs, strict=False)
            permute_blocks(build, [Source(start, x.shape[1], _elements(x)) for start, x in pairs])
            return
        for operand, start in zip(inputs, starts, strict=False):
            with build.loops(grid_names(len(operand.shape)), operand.shape) as index:
                where = (*index[:axis], index[axis] + start, *index[axis + 1 :])
                build.result(where, operand[index])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact."""
        return np.concatenate(errors, axis=self.axis)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: of the operand that has the widest. Where not all but the last fill whole
        blocks, channels change lanes: only where half of them lie in blocks already."""
        if resolve_axis(self.axis, inputs[0].rank) != 1:
            return Blocking((lanes, 1), lanes, follows=True)
        block = max(channel_block(operand.channels, lanes) for operand in inputs)
        there = sum(x.channels for x in inputs if x.layout.block(1) == block)
        if self.permuted_vectors(block, *inputs) and 2 * there < sum(x.channels for x in inputs):
            return PLAIN
        return Blocking((block,), block)

    def permuted_vectors(self, lanes: int, *inputs: TensorType | Buffer) -> int:
        """See Operator."""
        axis = resolve_axis(self.axis, len(inputs[0].shape))
        return int(axis == 1 and any(x.shape[1] % lanes for x in inputs[:-1]))

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        return resolve_axis(self.axis, inputs[0].rank) == 0

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 1, 5, 7), (2, 17, 5, 7))),
            Sample(cls(), ((1, 16, 4, 3), (1, 32, 4, 3))),
            Sample(cls(-1), ((2, 3, 4), (2, 3, 1))),
            Sample(cls(0), ((1, 5), (3, 5))),
        )


def _others(operand: TensorType, axis: int) -> tuple[int, ...]:
    """All extents but the axis's, and where the axis is."""
    return (*operand.shape[:axis], -1, *operand.shape[axis + 1 :])


def _elements(operand: Buffer) -> Element:
    return lambda n, channel, position: operand[(n, channel, *position)]
