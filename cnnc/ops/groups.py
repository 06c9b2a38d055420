"""Channels in groups: what all convolutions share."""

from collections.abc import Sequence
from math import prod
from typing import cast

import numpy as np

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.expr import Expr
from cnnc.ops.spec import ANY_BLOCK, PLAIN, Blocking, Operator, Real, gamma


def check_groups(x: TensorType, channels: int, groups: int, name: str) -> None:
    """OpError unless `x` has spatial axes and the groups divide its channels and the result's."""
    if x.rank < 3:
        raise OpError(
            "the operand has no spatial axes",
            at=0,
            note=f"its shape is {list(x.shape)}; {name} needs [N, C, length] or more",
        )
    for what, count in (("input", x.channels), ("output", channels)):
        if count % groups:
            raise OpError(
                f"{groups} groups do not divide {count} {what} channels",
                at="groups",
                note=f"{count} = {count // groups} × {groups} + {count % groups}",
            )


def is_depthwise(x: TensorType, channels: int, groups: int) -> bool:
    """Whether every channel is filtered on its own, so that vectors run along channels."""
    return groups == x.channels == channels and groups > 1


def channel_blocking(x: TensorType, channels: int, groups: int, lanes: int) -> Blocking:
    """Blocks of the result's channels that lie in one group, and of the input's."""
    if is_depthwise(x, channels, groups):
        return Blocking((lanes,), lanes)
    if groups == 1:
        # A single result channel leaves the lanes to positions, which are neighbours in rows only.
        return Blocking(ANY_BLOCK if lanes > 1 else (1,), lanes)
    if channels // groups % lanes:
        return PLAIN
    per_group = x.channels // groups
    return Blocking(tuple(size for size in ANY_BLOCK if per_group % size == 0), lanes)


def input_channel(o: Expr, i: Expr, per_group: int, outputs: int, groups: int) -> Expr:
    """The i-th input channel that result channel `o` reads, of `per_group` for `outputs`."""
    if groups == 1:
        return i
    if outputs == 1 and per_group == 1:
        return o
    return o // outputs * per_group + i


def convolution_error(
    op: Operator, terms: int, unit: float, inputs: Sequence[Real], errors: Sequence[Real]
) -> Real:
    """gamma(terms) (|w| * |x| + |b|), and |w| * error of x; `terms` additions for each result.

    The sizes are summed in float32 where that is enough: all are positive, so that is as good, and
    twice as fast.
    """
    relative = gamma(terms, unit)
    size = op.reference(*sizes(inputs, unit))
    bound: Real = relative * (1 + gamma(terms, 2.0**-24)) * size.astype(np.float64)
    if errors[0].any():
        weights = [np.abs(inputs[1]), *(np.zeros_like(value) for value in inputs[2:])]
        bound += op.reference(errors[0], *weights) * (1 + relative)
    return bound


def sizes(inputs: Sequence[Real], unit: float) -> list[Real]:
    """|x| of each, in float32 unless bounds for float64 need more range."""
    kind = np.float64 if unit < 2.0**-50 else np.float32
    return [cast(Real, np.abs(value).astype(kind)) for value in inputs]


def fan(weight: Sequence[int], groups: int = 1) -> tuple[int, int]:
    """Products behind each result, and results behind each input, of weights [O, I, *kernel]."""
    return prod(weight[1:]), weight[0] // groups * prod(weight[2:])
