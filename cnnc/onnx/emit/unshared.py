"""Locally connected layers, which ONNX does not have: a product of matrices at every position."""

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np

from cnnc.ir.graph import Node
from cnnc.onnx.emit.pools import padded
from cnnc.onnx.emit.writer import Writer, constant_of, emit, operand_type
from cnnc.ops.unshared import Unshared


@emit.register
def _unshared(op: Unshared, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    """[groups, positions, N, taps] times [groups, positions, taps, channels of a group]."""
    x, window = operand_type(node), op.window(operand_type(node))
    groups, positions, taps = op.groups, prod(window.out), prod(window.kernel)
    under = _taps(node, inputs[0], writer)
    split = (x.shape[0], groups, x.channels // groups, taps, positions)
    apart = writer.reshape(under, split)
    turned = writer.add("Transpose", apart, perm=[1, 4, 0, 2, 3])
    depth = x.channels // groups * taps
    rows = writer.add("Reshape", turned, writer.integers([groups, positions, -1, depth]))
    weights = constant_of(node, 1).reshape(
        groups, op.channels // groups, x.channels // groups, positions, taps
    )
    columns = weights.transpose(0, 3, 2, 4, 1).reshape(groups, positions, depth, -1)
    y = writer.add("MatMul", rows, writer.constant(columns))
    back = writer.add("Transpose", y, perm=[2, 0, 3, 1])
    made = writer.reshape(back, node.type.shape)
    return writer.add("Add", made, inputs[2]) if op.bias else made


def _taps(node: Node, x: str, writer: Writer) -> str:
    """What lies under each tap at each position: [N, C, taps, *out], one slice for each."""
    assert isinstance(node.op, Unshared)
    window, spatial = node.op.window(operand_type(node)), operand_type(node).spatial
    whole = padded(window, spatial, x, 0.0, writer)
    axes = writer.integers([2 + axis for axis in range(len(spatial))])
    strides, slices = writer.integers(window.stride), []
    for tap in product(*map(range, window.kernel)):
        begin = np.multiply(tap, window.dilation)
        end = begin + (np.array(window.out) - 1) * window.stride + 1
        ends = [writer.integers(each.tolist()) for each in (begin, end)]
        part = writer.add("Slice", whole, *ends, axes, strides)
        slices.append(writer.add("Unsqueeze", part, writer.integers([2])))
    return writer.add("Concat", *slices, axis=2) if len(slices) > 1 else slices[0]
