"""Axes by number and by name."""

from cnnc.ir.graph import OpError
from cnnc.loop.build import spatial_letters


def resolve_axis(axis: int, rank: int) -> int:
    """The axis counted from 0; OpError at the attribute `axis` when there is none."""
    if not -rank <= axis < rank:
        raise OpError(
            f"there is no axis {axis}",
            at="axis",
            note=f"the operand has {rank} axes",
            help=f"give one from {-rank} to {rank - 1}",
        )
    return axis % rank


def resolve_axes(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The axes counted from 0, in order; OpError at the attribute `axes` where they do not fit."""
    resolved: set[int] = set()
    for axis in axes:
        if not -rank <= axis < rank:
            raise OpError(
                f"there is no axis {axis}",
                at="axes",
                note=f"the operand has {rank} axes",
                help=f"give axes from {-rank} to {rank - 1}",
            )
        if axis % rank in resolved:
            raise OpError(f"axis {axis % rank} is given twice", at="axes")
        resolved.add(axis % rank)
    return tuple(sorted(resolved))


def axis_names(rank: int) -> tuple[str, ...]:
    """Names for loops over all axes of a tensor: n, c, then l, or h and w."""
    return ("n", "c", *spatial_letters(max(0, rank - 2)))[:rank]
