"""Whether nodes are such that the standard has them."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cnnc.onnx.values import RefusedError

if TYPE_CHECKING:
    from onnx import NodeProto


def check_node(node: "NodeProto", opset: int) -> None:
    """RefusedError where the operator is not of this opset, or has no such attributes or ends."""
    schema = _schema(node.op_type, opset)
    if schema is None:
        raise RefusedError(f"opset {opset} has no such operator")
    for each in node.attribute:
        if each.name not in schema.attributes:
            raise RefusedError(f"it has no attribute `{each.name}` in opset {opset}")
    if not schema.min_input <= len(node.input) <= schema.max_input:
        raise RefusedError(f"it takes no {len(node.input)} operands in opset {opset}")
    if len(node.output) > schema.max_output:
        raise RefusedError(f"it has no {len(node.output)} results in opset {opset}")


@lru_cache(maxsize=1024)
def _schema(op: str, opset: int) -> Any:
    from onnx.defs import SchemaError, get_schema

    try:
        schema = get_schema(op, opset, "")
    except SchemaError:
        return None
    return None if schema.deprecated else schema
