"""Reshaping."""

from collections.abc import Sequence
from math import prod

from cnnc.base.layout import Shape
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr
from cnnc.ops.attributes import ShapeKind
from cnnc.ops.spec import Operator, Real, Sample, attr, operator


@operator("reshape")
class Reshape(Operator):
    """The same elements in row-major order under another shape, batch axis included.

    An extent of 0 keeps the operand's at that place; one extent may be -1: whatever is left. Begin
    with 0 to keep the batch axis, and with it samples apart: `reshape([0, 4, -1])`.
    """

    shape: tuple[int, ...] = attr(ShapeKind(), doc="extents, batch first; 0 keeps, -1 fills")

    def resolve(self, shape: Shape) -> Shape:
        """The result's shape; OpError where it does not fit."""
        for axis, extent in enumerate(self.shape):
            if extent == 0 and axis >= len(shape):
                raise OpError(
                    f"extent 0 at axis {axis} has nothing to keep",
                    at="shape",
                    note=f"the operand's shape is {list(shape)}",
                )
        kept = [extent or shape[axis] for axis, extent in enumerate(self.shape)]
        known = prod(extent for extent in kept if extent != -1)
        rest = prod(shape) // known
        made = tuple(rest if extent == -1 else extent for extent in kept)
        if prod(made) != prod(shape):
            raise OpError(
                "the number of elements changes",
                at="shape",
                note=f"{_product(shape)}, but {_product(kept)}"
                + (f" leaves -1 no whole number, {prod(shape)} / {known}" if -1 in kept else ""),
                help="let one extent be -1" if -1 not in kept else None,
            )
        return made

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        return inputs[0].with_shape(self.resolve(inputs[0].shape))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return inputs[0].reshape(self.resolve(inputs[0].shape))

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: leading axes that stay are copied, the rest is counted through."""
        x, out = inputs[0], build.out
        same = 0
        while same < min(len(x.shape), len(out.shape)) and x.shape[same] == out.shape[same]:
            same += 1
        with build.grid() as index:
            place: Expr = Const(0)
            for part, extent in zip(index[same:], out.shape[same:], strict=True):
                place = place * extent + part
            source: list[Expr] = []
            for axis in range(same, len(x.shape)):
                whole = place // prod(x.shape[axis + 1 :])
                source.append(whole % x.shape[axis] if axis > same else whole)
            build.result(index, x[(*index[:same], *source)])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact."""
        return self.reference(errors[0])

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        shape = inputs[0].shape
        return self.resolve(shape)[0] != shape[0]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls((1,)), ((1, 1, 1),)),
            Sample(cls((0, -1)), ((2, 3, 5, 7),)),
            Sample(cls((0, 6, -1)), ((2, 3, 4, 5),)),
            Sample(cls((0, 0, 5, 2, 2)), ((1, 3, 20),)),
            Sample(cls((4, -1, 3)), ((2, 6, 5),)),
            Sample(cls((2, 1, 3, 1)), ((2, 3),)),
        )


def _product(shape: Sequence[int]) -> str:
    """The arithmetic behind a number of elements, leaving out -1."""
    known = [extent for extent in shape if extent != -1]
    return f"{' × '.join(map(str, known)) or '1'} = {prod(known)}"
