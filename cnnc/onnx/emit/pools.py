"""Pooling: what runtimes pool alike as they have it, the rest from averages and convolutions."""

from collections.abc import Sequence
from functools import reduce
from math import inf, prod

import numpy as np

from cnnc.base.errors import InternalError
from cnnc.base.layout import Shape
from cnnc.ir.graph import Node
from cnnc.onnx.emit.windows import window_attributes
from cnnc.onnx.emit.writer import Writer, constant_of, emit, operand_type
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm, Pooling, Weighted
from cnnc.ops.spec import Real
from cnnc.ops.window import Window


@emit.register
def _pool(op: Pool, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    window, x = op.window(operand_type(node)), inputs[0]
    spatial = operand_type(node).spatial
    plain = is_plain(window, spatial, ceil=op.ceil)
    counts = {"ceil_mode": int(op.ceil), "count_include_pad": int(op.count_pad)}
    match op.kind:
        case Maximum() if not op.size:
            return writer.add("GlobalMaxPool", x)
        case Average() if not op.size:
            return writer.add("GlobalAveragePool", x)
        case Maximum() if plain:
            return writer.add("MaxPool", x, **window_attributes(window), ceil_mode=int(op.ceil))
        case Average() if plain:
            return writer.add("AveragePool", x, **window_attributes(window), **counts)
        case Maximum():
            bare = padded(window, spatial, x, -inf, writer)
            return writer.add("MaxPool", bare, **window_attributes(unpadded(window)))
        case Average():
            shares = prod(window.kernel) / _counts(Pooling(window, spatial, op.count_pad))
            mean = _mean(window, spatial, x, writer)
            return writer.add("Mul", mean, writer.constant(shares))
        case Norm(p=p) if p != int(p) or (op.size and not plain):
            return _norm(p, node, x, writer)
        case Norm(p=p) if not op.size:
            return writer.add("GlobalLpPool", x, p=int(p))
        case Norm(p=p):
            return writer.add(
                "LpPool", x, **window_attributes(window), ceil_mode=int(op.ceil), p=int(p)
            )
        case Weighted():
            return _weighted(node, window, x, writer)
    raise InternalError(f"nothing writes `{op.label}`", stage="export")


def is_plain(window: Window, spatial: Shape, *, ceil: bool) -> bool:
    """Whether runtimes take the padding and have as many positions."""
    wide = any(max(ends) >= k for ends, k in zip(window.pads, window.kernel, strict=True))
    return not wide and (not ceil or _keeps_last(window, spatial))


def _norm(p: float, node: Node, x: str, writer: Writer) -> str:
    """(mean of |x|^p * taps)^(1/p)."""
    assert isinstance(node.op, Pool)
    window = node.op.window(operand_type(node))
    powers = writer.add("Mul", x, x) if p == 2 else writer.add("Abs", x)
    if p == 3:
        powers = writer.add("Mul", writer.add("Mul", powers, powers), powers)
    elif p not in (1, 2):
        powers = writer.add("Pow", powers, writer.constant(p))
    if not node.op.size:
        mean = writer.add("GlobalAveragePool", powers)
    else:
        mean = _mean(window, operand_type(node).spatial, powers, writer)
    total = writer.add("Mul", mean, writer.constant(float(prod(window.kernel))))
    if p == 1:
        return total
    return writer.add("Sqrt", total) if p == 2 else writer.add("Pow", total, writer.constant(1 / p))


def _weighted(node: Node, window: Window, x: str, writer: Writer) -> str:
    """A convolution of each channel by itself, and a factor for each position of the result."""
    assert isinstance(node.op, Pool)
    channels, weights = operand_type(node).channels, constant_of(node, 1)
    if not node.op.size:
        scaled = writer.add("Mul", x, writer.constant(weights))
        axes = range(2, operand_type(node).rank)
        return writer.add("ReduceSum", scaled, writer.integers([*axes]), keepdims=1)
    spread = np.broadcast_to(weights, (channels, 1, *window.kernel))
    attributes = window_attributes(reaching(window, operand_type(node).spatial))
    total = writer.add("Conv", x, writer.constant(spread), **attributes, group=channels)
    if len(node.inputs) < 3:
        return total
    return writer.add("Mul", total, writer.constant(constant_of(node, 2)))


def _mean(window: Window, spatial: Shape, x: str, writer: Writer) -> str:
    """The sum of all that is under a window, zeros outside, over the number of its taps."""
    bare = padded(window, spatial, x, 0.0, writer)
    return writer.add("AveragePool", bare, **window_attributes(unpadded(window)))


def padded(window: Window, spatial: Shape, x: str, value: float, writer: Writer) -> str:
    """The operand with everything around it that a window reaches."""
    ends = ((0, 0), (0, 0), *reaching(window, spatial).pads)
    if not any(map(any, ends)):
        return x
    pads = writer.integers([each[side] for side in (0, 1) for each in ends])
    return writer.add("Pad", x, pads, writer.constant(value))


def _counts(pooling: Pooling) -> Real:
    """For each position, how many taps count."""
    return reduce(np.multiply.outer, pooling.counts())


def _keeps_last(window: Window, spatial: Shape) -> bool:
    """Whether there are as many positions as in ONNX, where the last may lie in the padding."""
    padded = [extent + sum(ends) for extent, ends in zip(spatial, window.pads, strict=True)]
    return window.out == tuple(
        -(-(extent - window.span(axis)) // window.stride[axis]) + 1
        for axis, extent in enumerate(padded)
    )


def unpadded(window: Window) -> Window:
    """The same window on an operand that is padded already."""
    pads = ((0, 0),) * len(window.pads)
    return Window(window.kernel, window.stride, window.dilation, pads, window.out)


def reaching(window: Window, spatial: Shape) -> Window:
    """The window with the padding that its last position reaches: `ceil` may reach further."""
    pads = []
    for axis, (extent, (before, _)) in enumerate(zip(spatial, window.pads, strict=True)):
        last = (window.out[axis] - 1) * window.stride[axis] + window.span(axis)
        pads.append((before, max(0, last - before - extent)))
    return Window(window.kernel, window.stride, window.dilation, tuple(pads), window.out)
