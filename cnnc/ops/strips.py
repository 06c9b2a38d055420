"""Strips: some channels of a convolution and of what reads them channel by channel, row by row."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.ir.types import TensorType
from cnnc.ops.bands import Part, Strip, with_rows
from cnnc.ops.conv import Conv
from cnnc.ops.fused import Fused, root_operator
from cnnc.ops.groups import is_depthwise
from cnnc.ops.spec import Operator


def can_have_strips(first: Operator, between: TensorType, second: Operator) -> bool:
    """Whether two operators, with a tensor between them, can be computed in strips.

    The first is a convolution of all channels, the second a depthwise one that reads every row.
    """
    one, two = root_operator(first), root_operator(second)
    if not (isinstance(one, Conv) and isinstance(two, Conv) and one.groups == 1):
        return False
    window = two.window(between)
    is_one_by_one = is_depthwise(between, two.channels, two.groups)
    return is_one_by_one and window.stride[0] <= window.span(0)


def rows_between(second: Operator, between: TensorType) -> tuple[int, int]:
    """Rows that the second of two operators in strips reads for a row, and its step to the next."""
    window = _conv(second).window(between)
    return window.span(0), window.stride[0]


def in_strips(first: Part, second: Part, channels: int) -> tuple[Part, Part]:
    """Two parts for bands, one behind the other, as parts for one row of so many channels."""
    two = _of_strip(second, channels, fills=False)
    between = replace(two.operands[0], shape=_shape(two.operands[0], 1, channels))
    two = replace(two, operands=(between, *two.operands[1:]))
    return _of_strip(first, channels, fills=True), two


def strip_between(first: Part, second: Part) -> TensorType:
    """What lies between two parts in strips: as many rows as the second one reads for a row."""
    span, _ = rows_between(second.op, second.operands[0])
    return with_rows(first.result, span)


def _of_strip(part: Part, channels: int, *, fills: bool) -> Part:
    """A part for one row of so many channels, of all channels of its first operand."""
    root, x = _conv(part.op), part.operands[0]
    arity = _arity(part.op, part.operands)
    axes: list[int | None] = [None]
    operands = [with_rows(x, root.window(x).span(0))]
    for position, kind in enumerate(part.operands[1:], start=1):
        axes.append(0 if position < arity else _channels_axis(kind, part.result))
        operands.append(_cut(kind, axes[-1], channels, has_rows=part.reads[position] is not None))
    narrow = replace(root, channels=channels, groups=1 if fills else channels)
    return replace(
        part,
        op=replace(part.op, root=narrow) if isinstance(part.op, Fused) else narrow,
        operands=tuple(operands),
        result=_cut(part.result, 1, channels, has_rows=True),
        strip=Strip(channels, part.result.channels // channels, tuple(axes), fills),
    )


def _channels_axis(kind: TensorType, out: TensorType) -> int | None:
    """Where what is combined with a result has its channels, if it has them."""
    return 1 if kind.rank == out.rank and kind.channels == out.channels else None


def _cut(kind: TensorType, axis: int | None, channels: int, *, has_rows: bool) -> TensorType:
    """Some channels and one row, of a tensor that has them."""
    shape = kind.shape if axis is None else _shape(kind, axis, channels)
    kind = replace(kind, shape=shape)
    return with_rows(kind, 1) if has_rows else kind


def _shape(kind: TensorType, axis: int, extent: int) -> tuple[int, ...]:
    return (*kind.shape[:axis], extent, *kind.shape[axis + 1 :])


def _arity(op: Operator, operands: Sequence[TensorType]) -> int:
    return op.root_arity if isinstance(op, Fused) else len(operands)


def _conv(op: Operator) -> Conv:
    root = root_operator(op)
    assert isinstance(root, Conv)
    return root
