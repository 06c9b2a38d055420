"""Names of stages in models that tf2onnx wrote: those of Keras' layers.

Their nodes are called `scope/layer/operation`, and those of its own making `Conv__12`: such layers
are called after their weights.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "BatchNormalization")
_OPERATIONS = re.compile(
    r"(Conv[123]D|convolution|conv_transpose|depthwise|separable_conv2d|MatMul"
    r"|BiasAdd|Add|Cast|Reshape|Squeeze|ExpandDims|FusedBatchNormV3|batchnorm|mul|add|sub"
    r"|ReadVariableOp|merged_input|Conv[123]D_weights_fused_bn|depthwise_weights_fused_bn)(_\d+)?"
)
_TRANSPOSED = re.compile(r"conv[123]d_transpose")
"""An operation, and what Keras calls layers that get no name."""
_MADE = re.compile(r"__\d+$|:\d+$")

Scope = tuple[str, ...]


def scope_of(model: "ModelProto") -> Scope | None:
    """What the paths of all layers begin with; None where tf2onnx has not written the model."""
    if model.producer_name != "tf2onnx":
        return None
    inits = {each.name for each in model.graph.initializer}
    paths = [
        path[:-1]
        for node in model.graph.node
        if node.op_type in LAYERS
        and (path := _path(node, [name for name in node.input if name in inits], is_layer=True))
    ]
    common = paths[0] if paths else []
    for path in paths:
        same = [one == two for one, two in zip(common, path, strict=False)]
        common = common[: [*same, False].index(False)]
    return tuple(common)


def layer_name(node: "NodeProto", known: Sequence[str], scope: Scope) -> str | None:
    """The layer that a node with weights is, or all of its name; None where that says nothing."""
    is_layer = node.op_type in LAYERS or (node.op_type == "Mul" and "/batchnorm/" in node.name)
    path = _path(node, known, is_layer=is_layer)
    if path[: len(scope)] == [*scope]:
        path = path[len(scope) :]
    return ".".join(re.sub(r"\W", "_", part, flags=re.ASCII) for part in path) or None


def _path(node: "NodeProto", known: Sequence[str], *, is_layer: bool) -> list[str]:
    """The parts of the name of a node, or of its weights."""
    for name in (node.name, *(known if is_layer else ())):
        parts = [part for part in _MADE.sub("", name).split("/") if part]
        if len(parts) < 2:
            continue
        if is_layer and len(parts) > 1 and _TRANSPOSED.fullmatch(parts[-1]):
            parts.pop()
        while is_layer and len(parts) > 1 and _OPERATIONS.fullmatch(parts[-1]):
            parts.pop()
        return parts if is_layer else [part for part in name.split("/") if part]
    return []
