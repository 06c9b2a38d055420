"""Broadcasting as NumPy does it: shapes align at their last axis, extent 1 repeats."""

from collections.abc import Sequence

from cnnc.base.layout import Shape
from cnnc.ir.graph import OpError
from cnnc.loop.expr import Buffer, Const, Expr


def broadcast_shapes(shapes: Sequence[Shape]) -> Shape:
    """The common shape; OpError blames the first operand that does not fit."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for position, shape in enumerate(shapes):
        for axis, extent in enumerate(shape, start=rank - len(shape)):
            if extent != 1 and result[axis] not in (1, extent):
                raise OpError(
                    "the shapes do not match",
                    at=position,
                    note=f"axis {axis}: {extent} against {result[axis]} "
                    f"in {' and '.join(str(list(s)) for s in shapes)}",
                    help="extents must be equal, or 1",
                )
            result[axis] = extent if result[axis] == 1 else result[axis]
    return tuple(result)


def load_broadcast(buffer: Buffer, index: Sequence[Expr]) -> Expr:
    """The element of a buffer of lower rank or with extents of 1 at an index of the result."""
    aligned = index[len(index) - len(buffer.shape) :]
    return buffer[
        tuple(
            Const(0) if extent == 1 else part
            for part, extent in zip(aligned, buffer.shape, strict=True)
        )
    ]
