"""Names of stages after those of an ONNX model: as paths, so that weights keep theirs."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto

_PARAMETERS = (
    "weight",
    "bias",
    "running_mean",
    "running_var",
    "scale",
    "gamma",
    "beta",
    "mean",
    "var",
)


def base_name(node: "NodeProto", known: Sequence[str]) -> str:
    """What the stages of a node are called: after its weights, itself, or its result.

    `layer1.0.conv1.weight` makes `layer1.0.conv1`; `/layer1/layer1.0/conv1/Conv` does too.
    """
    for name in known:
        path, _, last = re.sub(r"[/:]", ".", name).strip(".").rpartition(".")
        if path and last.lower() in _PARAMETERS and not path.replace(".", "").isdigit():
            return path
    if node.name and not node.name.isdigit():
        return _of_scopes(node.name, node.op_type)
    output = next(iter(node.output), "")
    if not output or output.isdigit():
        return node.op_type.lower()
    return output


def _of_scopes(name: str, op: str) -> str:
    """PyTorch's exporter writes scopes, each with the whole path of the one before in it."""
    parts = [part for part in name.split("/") if part]
    if len(parts) > 1 and re.fullmatch(rf"{re.escape(op)}(_\d+)?", parts[-1]):
        parts[-1:] = (
            [] if parts[-1] == op and op in ("Conv", "Gemm", "BatchNormalization") else parts[-1:]
        )
    path: list[str] = []
    for part in parts:
        if path and part.startswith(path[-1] + "."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)
