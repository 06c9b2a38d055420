"""Comparisons and choices."""

from collections.abc import Mapping
from math import prod

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder, dtype_of
from cnnc.onnx.values import Flow, Known, RefusedError, Value
from cnnc.torch.call import Call, cast, through
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
    a, b = _alike(build, a, b)
    if call.op == "ne":
        return through(build, "Not", [through(build, "Equal", [a, b])])
    return through(build, COMPARISONS[call.op], [a, b])


def _alike(build: Builder, a: Value, b: Value) -> tuple[Value, Value]:
    """Both in f32 where one is."""
    kinds = {
        each.dtype if isinstance(each, Flow) else dtype_of(each.array.dtype) for each in (a, b)
    }
    if len(kinds) == 1 or DType.F32 not in kinds:
        return a, b
    return cast(build, a, DType.F32), cast(build, b, DType.F32)


@importer("isnan")
def is_nan(call: Call, build: Builder) -> Flow:
    """What differs from itself."""
    x = build.flow(call.value("self"))
    return through(build, "Not", [through(build, "Equal", [x, x])])


LOGIC: Mapping[str, str] = {
    "logical_and": "And", "logical_or": "Or", "logical_xor": "Xor", "logical_not": "Not",
    "bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor", "bitwise_not": "Not",
}  # fmt: skip


@importer(*LOGIC)
def logic(call: Call, build: Builder) -> Flow:
    """Of truth values; what is not 0 is true."""
    names = ("self",) if call.op.endswith("not") else ("self", "other")
    operands = [call.value(name) for name in names]
    if call.op.startswith("bitwise") and call.dtypes[0] is not DType.BOOL:
        raise RefusedError("it computes with the bits of integers")
    return through(build, LOGIC[call.op], [cast(build, each, DType.BOOL) for each in operands])


@importer("where")
def where(call: Call, build: Builder) -> Flow:
    """One or the other, element by element."""
    if "self" not in call.arguments:
        raise RefusedError("it lists positions")
    a, b = (call.promoted(build, name) for name in ("self", "other"))
    return through(build, "Where", [call.value("condition"), a, b])


@importer("index_put", "_unsafe_index_put")
def masked_put(call: Call, build: Builder) -> Flow:
    """One number where a mask is true: `x[x < 0] = 0`."""
    x, indices = build.flow(call.value("self")), call.arguments["indices"]
    value = call.value("values")
    mask = indices[0] if len(indices) == 1 else None
    if not isinstance(mask, Flow) or mask.dtype is not DType.BOOL or call.arguments["accumulate"]:
        raise RefusedError("it writes to positions that are not given as a mask")
    if value.shape:
        raise RefusedError("it writes more than one number")
    held = build.reshape(mask, (*mask.shape, *(1,) * (x.rank - mask.rank)))
    return through(build, "Where", [held, cast(build, value, x.dtype), x])


@importer("argmax", "argmin")
def position(call: Call, build: Builder) -> Flow:
    """Along one axis, or counted through all of them."""
    x, axis = build.flow(call.value("self")), call.arguments.get("dim")
    if axis is None:
        x, axis = build.reshape(x, (1, prod(x.shape))), 1
    op = "ArgMax" if call.op == "argmax" else "ArgMin"
    return build.reshape(through(build, op, [x], axis=axis, keepdims=1), call.shape)
