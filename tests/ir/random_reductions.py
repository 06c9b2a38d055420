"""Random reductions, products of matrices and casts for random graphs."""

from collections.abc import Callable

from cnnc.ir.graph import Node, Op
from cnnc.ops.attributes import Symbol
from cnnc.ops.cast import Cast
from cnnc.ops.reductions.matmul import MatMul
from cnnc.ops.reductions.reduce import Reduce
from cnnc.ops.reductions.reduce_kinds import KINDS
from cnnc.ops.spec import find_operator

Apply = Callable[..., Node | None]
Draw = Callable[[int, int], int]


def add_reduction(kind: str, draw: Draw, apply: Apply, x: Node) -> None:
    """One of the kinds reduce, matmul and cast."""
    match kind:
        case "reduce":
            _reduce(draw, apply, x)
        case "matmul":
            _multiply(apply, x)
        case "cast":
            _cast(draw, apply, x)


def _reduce(draw: Draw, apply: Apply, x: Node) -> None:
    """A reduction along any axes but the batch."""
    axes = tuple(axis for axis in range(1, x.type.rank) if draw(0, 1)) or (-1,)
    if x.type.rank > 1:
        kind = list(KINDS.values())[draw(0, len(KINDS) - 1)]
        apply(Reduce(kind, axes, bool(draw(0, 1))), x)


def _multiply(apply: Apply, x: Node) -> None:
    """Every matrix times its transpose; samples stay apart."""
    rank = x.type.rank
    transpose = find_operator("transpose")
    if rank < 3 or transpose is None:
        return
    order = (*range(rank - 2), rank - 1, rank - 2)
    if turned := apply(transpose.make({"order": order}), x):
        apply(MatMul(), x, turned)


def _cast(draw: Draw, apply: Apply, x: Node) -> None:
    """To whole numbers, and back again."""
    whole: Op = Cast.make({"dtype": Symbol(("i32", "i64", "u8")[draw(0, 2)])})
    if (made := apply(whole, x)) and draw(0, 1):
        apply(Cast.make({"dtype": Symbol("f32")}), made)
