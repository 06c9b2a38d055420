"""Operators that take away axes, and products of matrices."""

from collections.abc import Sequence

from cnnc.ir.graph import Node
from cnnc.onnx.emit.writer import Writer, emit, operand_type
from cnnc.ops.axes import resolve_axes
from cnnc.ops.reductions.arg import ArgMax, ArgMin
from cnnc.ops.reductions.matmul import MatMul
from cnnc.ops.reductions.reduce import Reduce


@emit.register
def _reduce(op: Reduce, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    axes = resolve_axes(op.axes, operand_type(node).rank)
    kind = {"l1": "L1", "l2": "L2"}.get(op.kind.name, op.kind.name.capitalize())
    return writer.add(f"Reduce{kind}", inputs[0], writer.integers(axes), keepdims=int(op.keep))


@emit.register
def _argmax(op: ArgMax, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("ArgMax", inputs[0], axis=op.axis, keepdims=int(op.keep))


@emit.register
def _argmin(op: ArgMin, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("ArgMin", inputs[0], axis=op.axis, keepdims=int(op.keep))


@emit.register
def _matmul(op: MatMul, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("MatMul", *inputs)
