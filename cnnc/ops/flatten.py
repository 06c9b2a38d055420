"""Flattening."""

from collections.abc import Sequence
from math import prod

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, grid_names
from cnnc.loop.expr import Buffer, Const, Expr
from cnnc.ops.spec import PLAIN, Blocking, Operator, Real, Sample, operator


@operator("flatten")
class Flatten(Operator):
    """All axes after the batch as one: [N, C, H, W] becomes [N, C * H * W], in row-major order."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        shape = inputs[0].shape
        return inputs[0].with_shape((prod(shape[:1]), prod(shape[1:])))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        shape = inputs[0].shape
        return inputs[0].reshape(prod(shape[:1]), prod(shape[1:]))

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x = inputs[0]
        with build.loops(grid_names(len(x.shape)), x.shape) as index:
            feature: Expr = Const(0)
            for part, extent in zip(index[1:], x.shape[1:], strict=True):
                feature = feature * extent + (part if extent > 1 else 0)
            build.result((*index[:1], feature), x[index])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact."""
        return self.reference(errors[0])

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: channels stay neighbours when there is nothing between them."""
        if inputs[0].rank > 1 and prod(inputs[0].spatial) == 1:
            return Blocking((lanes, 1), lanes, follows=True)
        return PLAIN

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        shapes = [(1, 1, 1), (2, 3, 5, 7), (2, 17, 1, 1), (3, 5), (1, 4, 1, 6), (2, 2, 3, 2, 3)]
        return tuple(Sample(cls(), (shape,)) for shape in shapes)
