"""Products of matrices."""

from collections.abc import Sequence

import numpy as np

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Fma
from cnnc.ops.broadcast import broadcast_shapes, load_broadcast
from cnnc.ops.spec import Nest, Operator, Real, Sample, check_floats, gamma, operator


@operator("matmul", arity=(2, 2))
class MatMul(Operator):
    """y[…, i, j] = sum over k of a[…, i, k] * b[…, k, j], axes before the last two broadcasting.

    Both operands have two axes or more.
    """

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        a, b = inputs
        for position, operand in enumerate(inputs):
            if operand.rank < 2:
                note = f"its shape is {list(operand.shape)}"
                raise OpError("the operand is no matrix", at=position, note=note)
        if a.dtype != b.dtype:
            raise OpError(f"operands are {a.dtype} and {b.dtype}", at=1)
        if a.shape[-1] != b.shape[-2]:
            raise OpError(
                f"{a.shape[-1]} columns meet {b.shape[-2]} rows",
                at=1,
                note=f"{list(a.shape)} times {list(b.shape)}",
                help="the last extent of the first must be the last but one of the second",
            )
        leading = broadcast_shapes([a.shape[:-2], b.shape[:-2]]) if a.rank + b.rank > 4 else ()
        return a.with_shape((*leading, a.shape[-2], b.shape[-1]))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        y: Real = inputs[0] @ inputs[1]
        return y

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: gamma(terms) |a| |b|, and what both errors make of it."""
        (a, b), (e, f) = map(np.abs, inputs), errors
        relative = gamma(inputs[0].shape[-1], unit)
        bound: Real = relative * (a @ b) + (1 + relative) * (e @ b + a @ f + e @ f)
        return bound

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator."""
        return out.elements * inputs[0].shape[-1]

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        return Nest(out.spatial, shares_rows=True)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        a, b = inputs
        with build.grid() as (*leading, i, j):
            total = build.register("acc", a.dtype, Const(0.0, a.dtype))
            with build.loop("k", a.shape[-1], reduces=True) as k:
                left = load_broadcast(a, (*leading, i, k))
                right = load_broadcast(b, (*leading, k, j))
                build.store(total, (), Fma(left, right, total[()]))
            build.result((*leading, i, j), total[()])

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator: of two matrices the second's batch is summed over; so is a lower rank's."""
        rank = max(operand.rank for operand in inputs)
        return rank == 2 or any(each.rank < rank and each.shape[0] > 1 for each in inputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        pairs = [
            ((1, 1), (1, 1)),
            ((5, 7), (7, 19)),
            ((2, 3, 17), (2, 17, 33)),
            ((2, 4, 5, 3), (1, 4, 3, 6)),
            ((2, 1, 9, 8), (3, 8, 2)),
            ((1, 2, 70), (1, 70, 1)),
        ]
        return tuple(Sample(cls(), pair) for pair in pairs)
