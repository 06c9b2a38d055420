"""Comparisons, and what is chosen by them."""

from collections.abc import Sequence

from onnx import TensorProto

from cnnc.base.dtype import DType
from cnnc.ir.graph import Node
from cnnc.onnx.emit.writer import Writer, emit, operand_type
from cnnc.ops.comparisons.equal import Equal
from cnnc.ops.comparisons.less import Less
from cnnc.ops.comparisons.less_equal import LessEqual
from cnnc.ops.comparisons.where import Where
from cnnc.ops.round_to import RoundTo


@emit.register
def _equal(op: Equal, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Equal", *_known_to_runtimes(node, inputs, writer))


@emit.register
def _less(op: Less, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Less", *_known_to_runtimes(node, inputs, writer))


@emit.register
def _less_equal(op: LessEqual, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("LessOrEqual", *_known_to_runtimes(node, inputs, writer))


@emit.register
def _where(op: Where, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Where", *inputs)


@emit.register
def _round_to(op: RoundTo, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    """There and back."""
    narrow = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[op.type]
    return writer.cast(writer.add("Cast", *inputs, to=narrow), operand_type(node).dtype)


def _known_to_runtimes(node: Node, inputs: Sequence[str], writer: Writer) -> list[str]:
    """Bytes as wider integers, which all runtimes compare."""
    is_byte = operand_type(node).dtype is DType.U8
    return [writer.cast(name, DType.I32) if is_byte else name for name in inputs]
