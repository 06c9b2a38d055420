"""What operators that take away axes share: shapes, loops and the places of elements."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cnnc.base.layout import Shape
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Const, Expr
from cnnc.ops.axes import axis_names
from cnnc.ops.spec import PLAIN, Blocking


def without(shape: Shape, over: Sequence[int], *, keep: bool, at: str) -> Shape:
    """The shape with the axes taken away, or 1 where they are kept; OpError if nothing is left."""
    if keep:
        return tuple(1 if axis in over else extent for axis, extent in enumerate(shape))
    left = tuple(extent for axis, extent in enumerate(shape) if axis not in over)
    if not left:
        raise OpError("no axis is left", at=at, help="keep them with an extent of 1: `keep = true`")
    return left


def block_of(lanes: int, x: TensorType, over: Sequence[int]) -> Blocking:
    """Blocks of channels work where batch and channels stay."""
    return Blocking((lanes, 1), lanes, follows=True) if min(over) > 1 else PLAIN


@contextmanager
def along(
    build: KernelBuilder, index: Sequence[Expr], shape: Shape, over: Sequence[int], *, keep: bool
) -> Iterator[tuple[Expr, ...]]:
    """Loops that reduce over the axes; gives the operand's index for an index of the result."""
    names = [f"r{name}" for name in axis_names(len(shape))]
    rest = iter([part for axis, part in enumerate(index) if not (keep and axis in over)])
    outer = {axis: next(rest) for axis in range(len(shape)) if axis not in over}
    extents = tuple(shape[axis] for axis in over)
    with build.loops([names[axis] for axis in over], extents, reduces=True) as inner:
        place: dict[int, Expr] = {**outer, **dict(zip(over, inner, strict=True))}
        yield tuple(place[axis] if shape[axis] > 1 else Const(0) for axis in range(len(shape)))
