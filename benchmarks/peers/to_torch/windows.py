"""Operators with a window, and dense layers."""

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from cnnc.ir.graph import Node
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.dense import Dense
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm, Pooling, Weighted
from cnnc.ops.window import Window
from peers.to_torch.builder import Builder, build, operand_type
from peers.unsupported import UnsupportedError

Axes = tuple[int, ...] | None
"""The spatial axes, where the window is the whole input."""
LOWEST = float(np.finfo(np.float32).min)
"""Stands around what is searched for its largest element: infinity has no place in some files."""
CONV = (functional.conv1d, functional.conv2d, functional.conv3d)
TRANSPOSED = (
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)
MAXIMUM = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
LARGEST = (
    functional.adaptive_max_pool1d,
    functional.adaptive_max_pool2d,
    functional.adaptive_max_pool3d,
)
MEAN = (
    functional.adaptive_avg_pool1d,
    functional.adaptive_avg_pool2d,
    functional.adaptive_avg_pool3d,
)
AVERAGE = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


def by_rank(functions: Sequence[Callable[..., Any]], node: Node) -> Callable[..., Any]:
    """The function for as many spatial axes as the node's operand has."""
    rank = len(operand_type(node).spatial)
    if rank > len(functions):
        raise UnsupportedError(f"`{node.name}` has {rank} spatial axes")
    return functions[rank - 1]


@build.register
def _conv(op: Conv, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    window = op.window(operand_type(node))
    return _convolved(node, window, op.groups, inputs, builder)


def _convolved(
    node: Node, window: Window, groups: int, inputs: Sequence[fx.Node], builder: Builder
) -> fx.Node:
    """A convolution; padding of its own where both ends of each axis have the same."""
    x, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    pads = [before for before, _ in window.pads]
    if any(before != after for before, after in window.pads):
        x, pads = _padded(x, window.pads, 0.0, builder), [0] * len(pads)
    function = by_rank(CONV, node)
    return builder.call(
        function, x, weight, bias, window.stride, tuple(pads), window.dilation, groups
    )


@build.register
def _conv_transpose(
    op: ConvTranspose, node: Node, inputs: Sequence[fx.Node], builder: Builder
) -> fx.Node:
    x, window = operand_type(node), op.window(operand_type(node))
    pads = tuple(before for before, _ in window.crop)
    extra = tuple(
        out + 2 * pad - (extent - 1) * stride - window.span(axis)
        for axis, (out, pad, extent, stride) in enumerate(
            zip(window.out, pads, x.spatial, window.stride, strict=True)
        )
    )
    limits = [max(pair) for pair in zip(window.stride, window.dilation, strict=True)]
    if not all(0 <= more < limit for more, limit in zip(extra, limits, strict=True)):
        raise UnsupportedError(f"`{node.name}` is cropped as PyTorch does not crop")
    bias = inputs[2] if op.bias else None
    function, more = by_rank(TRANSPOSED, node), (extra, op.groups, window.dilation)
    return builder.call(function, inputs[0], inputs[1], bias, window.stride, pads, *more)


@build.register
def _dense(op: Dense, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(functional.linear, *inputs)


@build.register
def _pool(op: Pool, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    window, x = op.window(operand_type(node)), inputs[0]
    axes = tuple(range(2, operand_type(node).rank)) if not op.size else None
    match op.kind:
        case Maximum() if axes:
            return builder.call(by_rank(LARGEST, node), x, 1)
        case Maximum():
            return _largest(node, window, op.ceil, x, builder)
        case Average() if axes:
            return builder.call(by_rank(MEAN, node), x, 1)
        case Average():
            return _mean(op, node, window, x, builder)
        case Norm(p=p):
            return _norm(p, node, window, axes, x, builder)
        case Weighted():
            return _weighted(node, window, axes, inputs, builder)
    raise UnsupportedError.operator(node, "the PyTorch module")


def _largest(node: Node, window: Window, ceil: bool, x: fx.Node, builder: Builder) -> fx.Node:
    pads = tuple(before for before, _ in window.pads)
    same = all(
        before == after and 2 * before <= kernel
        for (before, after), kernel in zip(window.pads, window.kernel, strict=True)
    )
    if not same:
        x = _padded(x, _reach(window, operand_type(node).spatial), LOWEST, builder)
        pads, ceil = (0,) * len(pads), False
    function = by_rank(MAXIMUM, node)
    return builder.call(function, x, window.kernel, window.stride, pads, window.dilation, ceil)


def _mean(op: Pool, node: Node, window: Window, x: fx.Node, builder: Builder) -> fx.Node:
    """PyTorch's own where it can pad so, otherwise the sum and one factor for each position."""
    same = all(
        before == after and 2 * before <= kernel
        for (before, after), kernel in zip(window.pads, window.kernel, strict=True)
    )
    if same and max(window.dilation) == 1:
        pads = tuple(before for before, _ in window.pads)
        numbers = (window.kernel, window.stride, pads, op.ceil, op.count_pad)
        return builder.call(by_rank(AVERAGE, node), x, *numbers)
    pooling = Pooling(window, operand_type(node).spatial, op.count_pad)
    factor = 1 / reduce(np.multiply.outer, pooling.counts())
    total = _sum(node, window, x, builder)
    return builder.call(torch.mul, total, builder.constant(factor.astype(np.float32)))


def _sum(node: Node, window: Window, x: fx.Node, builder: Builder) -> fx.Node:
    """The sum under each window."""
    if max(window.dilation) > 1:
        raise UnsupportedError(f"`{node.name}` sums under windows with gaps")
    padded = _padded(x, _reach(window, operand_type(node).spatial), 0.0, builder)
    mean = builder.call(by_rank(AVERAGE, node), padded, window.kernel, window.stride)
    return builder.call(torch.mul, mean, float(prod(window.kernel)))


def _norm(
    p: float, node: Node, window: Window, axes: Axes, x: fx.Node, builder: Builder
) -> fx.Node:
    """(sum of |x|^p)^(1/p)."""
    powers = builder.call(torch.mul, x, x) if p == 2 else builder.call(torch.abs, x)
    if p == 3:
        powers = builder.call(torch.mul, builder.call(torch.mul, powers, powers), powers)
    elif p not in (1, 2):
        powers = builder.call(torch.pow, powers, p)
    if axes:
        total = builder.call(torch.sum, powers, axes, keepdim=True)
    else:
        total = _sum(node, window, powers, builder)
    if p == 1:
        return total
    return builder.call(torch.sqrt, total) if p == 2 else builder.call(torch.pow, total, 1 / p)


def _weighted(
    node: Node,
    window: Window,
    axes: Axes,
    inputs: Sequence[fx.Node],
    builder: Builder,
) -> fx.Node:
    """A convolution of each channel by itself, and a factor for each position of the result."""
    channels, weights = operand_type(node).channels, node.inputs[1].constant
    assert weights is not None
    if axes:
        scaled = builder.call(torch.mul, inputs[0], inputs[1])
        return builder.call(torch.sum, scaled, axes, keepdim=True)
    spread = builder.constant(np.broadcast_to(weights, (channels, 1, *window.kernel)))
    reach = _reach(window, operand_type(node).spatial)
    window = Window(window.kernel, window.stride, window.dilation, reach, window.out)
    total = _convolved(node, window, channels, (inputs[0], spread), builder)
    return builder.call(torch.mul, total, inputs[2]) if len(inputs) > 2 else total


def _reach(window: Window, spatial: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """What the windows reach outside: less than the padding where a step does not fit it."""
    pads = []
    for axis, (extent, (before, _)) in enumerate(zip(spatial, window.pads, strict=True)):
        last = (window.out[axis] - 1) * window.stride[axis] + window.span(axis)
        pads.append((before, max(0, last - before - extent)))
    return tuple(pads)


def _padded(x: fx.Node, pads: Sequence[tuple[int, int]], value: float, builder: Builder) -> fx.Node:
    """PyTorch pads the last axis first."""
    amounts = [end for ends in reversed(pads) for end in ends]
    return builder.call(functional.pad, x, amounts, value=value) if any(amounts) else x
