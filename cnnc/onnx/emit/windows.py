"""Convolutions and dense layers."""

from collections.abc import Sequence

from cnnc.ir.graph import Node
from cnnc.onnx.emit.writer import Attribute, Writer, constant_of, emit, operand_type, per_channel
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.dense import Dense
from cnnc.ops.transposed import TransposedWindow
from cnnc.ops.window import Window


@emit.register
def _conv(op: Conv, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    window = op.window(operand_type(node))
    return writer.add("Conv", *inputs, **window_attributes(window), group=op.groups)


@emit.register
def _conv_transpose(op: ConvTranspose, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    x, window = operand_type(node), op.window(operand_type(node))
    extra = [
        out + sum(ends) - (extent - 1) * stride - window.span(axis)
        for axis, (out, ends, extent, stride) in enumerate(
            zip(window.out, window.crop, x.spatial, window.stride, strict=True)
        )
    ]
    attributes: dict[str, Attribute] = {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "dilations": window.dilation,
        "group": op.groups,
    }
    fits = all(0 <= more < stride for more, stride in zip(extra, window.stride, strict=True))
    if not fits:
        return _cut(
            node, window, extra, writer.add("ConvTranspose", *inputs[:2], **attributes), writer
        )
    pads = [ends[side] for side in (0, 1) for ends in window.crop]
    return writer.add("ConvTranspose", *inputs, **attributes, pads=pads, output_padding=extra)


def _cut(
    node: Node, window: TransposedWindow, extra: Sequence[int], whole: str, writer: Writer
) -> str:
    """The uncropped result without its bias, cropped or continued with zeros, and the bias."""
    ends = [
        (-before, more - after) for (before, after), more in zip(window.crop, extra, strict=True)
    ]
    pads = [each[side] for side in (0, 1) for each in ((0, 0), (0, 0), *ends)]
    y = writer.add("Pad", whole, writer.integers(pads), writer.constant(0.0))
    if len(node.inputs) < 3:
        return y
    return writer.add("Add", y, writer.constant(per_channel(node, constant_of(node, 2))))


@emit.register
def _dense(op: Dense, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Gemm", *inputs, transB=1)


def window_attributes(window: Window) -> dict[str, Attribute]:
    """How ONNX describes a window."""
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "dilations": window.dilation,
        "pads": [ends[side] for side in (0, 1) for ends in window.pads],
    }
