"""Comparisons and choices."""

from collections.abc import Mapping

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.values import Flow, Known, RefusedError, Value
from cnnc.torch.call import Call, through
from cnnc.torch.registry import importer

COMPARISONS: Mapping[str, str] = {
    "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip


@importer(*COMPARISONS, "ne")
def compare(call: Call, build: Builder) -> Flow:
    """Two tensors, or a tensor and a number of its type."""
    a, b = call.value("self"), call.value("other")
    if isinstance(a, Flow) and isinstance(b, Known) and not b.shape:
        number = b.array.astype(a.dtype.numpy)
        if number != b.array:
            raise RefusedError(f"it compares {a.dtype} with {b.array}")
        b = Known(number)
    if call.op == "ne":
        return through(build, "Not", [through(build, "Equal", [a, b])])
    return through(build, COMPARISONS[call.op], [a, b])


@importer("where")
def where(call: Call, build: Builder) -> Flow:
    """One or the other, element by element."""
    if "self" not in call.arguments:
        raise RefusedError("it lists positions")
    a, b = (_f32(call.value(name)) for name in ("self", "other"))
    return through(build, "Where", [call.value("condition"), a, b])


def _f32(value: Value) -> Value:
    """Numbers without axes as f32; results of another type are refused where they are compared."""
    if isinstance(value, Known) and not value.shape:
        return Known(value.array.astype(np.float32))
    return value


@importer("argmax", "argmin")
def position(call: Call, build: Builder) -> Flow:
    """Along one axis."""
    if call.arguments.get("dim") is None:
        raise RefusedError("it counts through all axes")
    kept = int(bool(call.arguments.get("keepdim")))
    op = "ArgMax" if call.op == "argmax" else "ArgMin"
    return through(build, op, [call.value("self")], axis=call.integer("dim"), keepdims=kept)
