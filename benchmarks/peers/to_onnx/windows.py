"""Operators with a window, and dense layers."""

from collections.abc import Sequence
from math import prod

import numpy as np

from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.dense import Dense
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm, Weighted
from cnnc.ops.window import Window
from peers.to_onnx.writer import Attribute, Writer, constant_of, emit, operand_type
from peers.unsupported import UnsupportedError


@emit.register
def _conv(op: Conv, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    window = op.window(operand_type(node))
    return writer.add("Conv", *inputs, **_attributes(window), group=op.groups)


@emit.register
def _conv_transpose(op: ConvTranspose, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    x, window = operand_type(node), op.window(operand_type(node))
    extra = [
        out + sum(ends) - (extent - 1) * stride - window.span(axis)
        for axis, (out, ends, extent, stride) in enumerate(
            zip(window.out, window.crop, x.spatial, window.stride, strict=True)
        )
    ]
    if min(extra) < 0:
        raise UnsupportedError(f"`{node.name}` crops more than ONNX's padding can")
    return writer.add(
        "ConvTranspose",
        *inputs,
        kernel_shape=window.kernel,
        strides=window.stride,
        dilations=window.dilation,
        pads=[ends[side] for side in (0, 1) for ends in window.crop],
        output_padding=extra,
        group=op.groups,
    )


@emit.register
def _dense(op: Dense, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Gemm", *inputs, transB=1)


@emit.register
def _pool(op: Pool, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    window, x = op.window(operand_type(node)), inputs[0]
    whole = not op.size
    if any(max(ends) >= k for ends, k in zip(window.pads, window.kernel, strict=True)):
        raise UnsupportedError(f"`{node.name}` is padded as wide as its window")
    match op.kind:
        case Maximum() if whole:
            return writer.add("GlobalMaxPool", x)
        case Average() if whole:
            return writer.add("GlobalAveragePool", x)
        case Maximum() | Average() if op.ceil and not _keeps_last(window, operand_type(node)):
            raise UnsupportedError(f"`{node.name}` leaves a last window out that ONNX has")
        case Maximum():
            return writer.add("MaxPool", x, **_attributes(window), ceil_mode=int(op.ceil))
        case Average():
            counts = {"ceil_mode": int(op.ceil), "count_include_pad": int(op.count_pad)}
            return writer.add("AveragePool", x, **_attributes(window), **counts)
        case Norm(p=p):
            return _norm(p, window, whole, op.ceil, x, writer)
        case Weighted():
            return _weighted(node, window, whole, x, writer)
    raise UnsupportedError.operator(node, "the ONNX writer")


def _norm(p: float, window: Window, whole: bool, ceil: bool, x: str, writer: Writer) -> str:
    """(mean of |x|^p * taps)^(1/p): runtimes know averages better than norms."""
    if ceil:
        raise UnsupportedError("norms of windows that are cut at the end")
    powers = writer.add("Mul", x, x) if p == 2 else writer.add("Abs", x)
    if p == 3:
        powers = writer.add("Mul", writer.add("Mul", powers, powers), powers)
    elif p not in (1, 2):
        powers = writer.add("Pow", powers, writer.constant(p))
    if whole:
        mean = writer.add("GlobalAveragePool", powers)
    else:
        mean = writer.add("AveragePool", powers, **_attributes(window), count_include_pad=1)
    total = writer.add("Mul", mean, writer.constant(float(prod(window.kernel))))
    if p == 1:
        return total
    return writer.add("Sqrt", total) if p == 2 else writer.add("Pow", total, writer.constant(1 / p))


def _weighted(node: Node, window: Window, whole: bool, x: str, writer: Writer) -> str:
    """A convolution of each channel by itself, and a factor for each position of the result."""
    channels, weights = operand_type(node).channels, constant_of(node, 1)
    if whole:
        scaled = writer.add("Mul", x, writer.constant(weights))
        axes = range(2, operand_type(node).rank)
        return writer.add("ReduceSum", scaled, writer.integers([*axes]), keepdims=1)
    spread = np.broadcast_to(weights, (channels, 1, *window.kernel))
    attributes = _attributes(_reaching(window, operand_type(node).spatial))
    total = writer.add("Conv", x, writer.constant(spread), **attributes, group=channels)
    if len(node.inputs) < 3:
        return total
    return writer.add("Mul", total, writer.constant(constant_of(node, 2)))


def _keeps_last(window: Window, x: TensorType) -> bool:
    """Whether there are as many positions as in ONNX, where the last may lie in the padding."""
    padded = [extent + sum(ends) for extent, ends in zip(x.spatial, window.pads, strict=True)]
    return window.out == tuple(
        -(-(extent - window.span(axis)) // window.stride[axis]) + 1
        for axis, extent in enumerate(padded)
    )


def _reaching(window: Window, spatial: Sequence[int]) -> Window:
    """The window with the padding that its last position reaches: `ceil` may reach further."""
    pads = []
    for axis, (extent, (before, _)) in enumerate(zip(spatial, window.pads, strict=True)):
        last = (window.out[axis] - 1) * window.stride[axis] + window.span(axis)
        pads.append((before, max(0, last - before - extent)))
    return Window(window.kernel, window.stride, window.dilation, tuple(pads), window.out)


def _attributes(window: Window) -> dict[str, Attribute]:
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "dilations": window.dilation,
        "pads": [ends[side] for side in (0, 1) for ends in window.pads],
    }
