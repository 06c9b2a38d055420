"""Normalisations, and softmax."""

from collections.abc import Sequence
from math import prod

import numpy as np

from cnnc.ir.graph import Node
from cnnc.onnx.emit.writer import Writer, constant_of, emit, operand_type
from cnnc.ops.axes import resolve_axes
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.log_softmax import LogSoftmax
from cnnc.ops.normalisation.group_norm import GroupNorm
from cnnc.ops.normalisation.instance_norm import InstanceNorm
from cnnc.ops.normalisation.layer_norm import LayerNorm
from cnnc.ops.normalisation.lrn import Lrn
from cnnc.ops.softmax import Softmax


@emit.register
def _softmax(op: Softmax, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Softmax", inputs[0], axis=op.axis)


@emit.register
def _log_softmax(op: LogSoftmax, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("LogSoftmax", inputs[0], axis=op.axis)


@emit.register
def _batchnorm(op: BatchNorm, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    if not writer.holds(op.eps):
        near = float(np.float32(op.eps))
        var = writer.constant(constant_of(node, 4).astype(np.float64) + (op.eps - near))
        return writer.add("BatchNormalization", *inputs[:4], var, epsilon=near)
    return writer.add("BatchNormalization", *inputs, epsilon=op.eps)


@emit.register
def _instance_norm(op: InstanceNorm, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    given = _affine(inputs, (operand_type(node).channels,), writer)
    return writer.add("InstanceNormalization", inputs[0], *given, epsilon=op.eps)


@emit.register
def _group_norm(op: GroupNorm, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    given = _affine(inputs, (operand_type(node).channels,), writer)
    counts = {"num_groups": op.groups}
    return writer.add("GroupNormalization", inputs[0], *given, epsilon=op.eps, **counts)


@emit.register
def _layer_norm(op: LayerNorm, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    """The axes that are normalised must be the last ones."""
    x = operand_type(node)
    axes = resolve_axes(op.axes, x.rank)
    order = [*(axis for axis in range(x.rank) if axis not in axes), *axes]
    turned = inputs[0]
    if order != [*range(x.rank)]:
        turned = writer.add("Transpose", turned, perm=order)
    given = _affine(inputs, [x.shape[axis] for axis in axes], writer)
    first = x.rank - len(axes)
    y = writer.add("LayerNormalization", turned, *given, axis=first, epsilon=op.eps)
    if order == [*range(x.rank)]:
        return y
    return writer.add("Transpose", y, perm=np.argsort(order).tolist())


@emit.register
def _lrn(op: Lrn, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    """Even windows, and what is no image, as a sum of squares along the channels."""
    x = operand_type(node)
    if op.size % 2 and x.rank == 4:
        factors = {"alpha": op.alpha, "beta": op.beta, "bias": op.k}
        return writer.add("LRN", inputs[0], size=op.size, **factors)
    squares = writer.add("Mul", inputs[0], inputs[0])
    lines = writer.reshape(squares, (x.shape[0], 1, x.channels, prod(x.spatial)))
    ones = writer.constant(np.ones((1, 1, op.size, 1)))
    before = (op.size - 1) // 2
    pads = [before, 0, op.size - 1 - before, 0]
    sums = writer.add("Conv", lines, ones, kernel_shape=[op.size, 1], pads=pads)
    scaled = writer.add("Mul", sums, writer.constant(op.alpha / op.size))
    base = writer.add("Add", writer.reshape(scaled, x.shape), writer.constant(op.k))
    power = writer.add("Pow", base, writer.constant(op.beta))
    return writer.add("Div", inputs[0], power)


def _affine(inputs: Sequence[str], shape: Sequence[int], writer: Writer) -> Sequence[str]:
    """Weight and bias, which ONNX always wants."""
    return inputs[1:] or [writer.constant(np.full(shape, value)) for value in (1.0, 0.0)]
