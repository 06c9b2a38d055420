"""Arithmetic with broadcasting, matrices."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.onnx.builder import Builder, dtype_of
from cnnc.onnx.flat import Array
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, Known, RefusedError, Value

PAIRS: Mapping[str, str] = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow"}
FOLDS: Mapping[str, str] = {"Sum": "add", "Max": "max", "Min": "min", "Mean": "add"}


@importer(*PAIRS)
def pair(call: Call, build: Builder) -> Flow:
    """Two operands."""
    a, b = aligned(call, build)
    if call.op == "Pow" and isinstance(a, Flow) and isinstance(b, Known):
        b = Known(np.asarray(b.array, a.dtype.numpy if a.dtype.is_float else np.float32))
    elif call.op == "Pow" and isinstance(b, Flow) and (kind := _float_type(a)):
        b = build.cast(b, kind)
    return broadcast(build, PAIRS[call.op], [a, b])


def _float_type(a: Value) -> DType | None:
    """The type of a value of floating point."""
    kind = a.dtype if isinstance(a, Flow) else dtype_of(a.array.dtype)
    return kind if kind.is_float else None


def aligned(call: Call, build: Builder) -> tuple[Value, Value]:
    """Two operands that broadcast; before opset 7 an attribute says where the second one does."""
    a, b = call.flow(0), call.flow(1)
    if call.opset >= 7 or not call.integer("broadcast") or len(b.shape) >= len(a.shape):
        return a, b
    axis = call.integer("axis", len(a.shape) - len(b.shape))
    if not 0 <= axis <= len(a.shape) - len(b.shape):
        raise RefusedError(f"there is no axis {axis} to broadcast along")
    shape = (*b.shape, *(1,) * (len(a.shape) - axis - len(b.shape)))
    if isinstance(b, Known):
        return a, Known(b.array.reshape(shape))
    return a, build.reshape(b, shape)


@importer(*FOLDS)
def fold(call: Call, build: Builder) -> Flow:
    """Any number of operands."""
    operands = [call.flow(place) for place in range(len(call.operands))]
    if not operands:
        raise RefusedError("it has no operands")
    if len(operands) == 1:
        x = build.flow(operands[0])
        return build.stage("id", [x], shape=x.shape)
    total = broadcast(build, FOLDS[call.op], operands)
    if call.op != "Mean":
        return total
    share = 1 / len(operands) if call.is_wide else float(np.float32(1 / len(operands)))
    return build.stage("mul", [total, share], shape=total.shape)


def broadcast(build: Builder, op: str, operands: list[Value]) -> Flow:
    """An operator of several operands; bytes go through f32 where that is exact."""
    shape = common_shape([each.shape for each in operands])
    flows = [each for each in operands if isinstance(each, Flow)]
    if op in ("max", "min") and flows and all(each.dtype is DType.U8 for each in flows):
        wide: list[Value] = [
            build.cast(each, DType.F32) if isinstance(each, Flow) else _as_f32(each)
            for each in operands
        ]
        return build.cast(build.stage(op, wide, shape=shape), DType.U8)
    whole = (DType.I32, DType.I64)
    if op in ("max", "min") and flows and all(each.dtype in whole for each in flows):
        return _extremum(build, op, operands)
    return build.stage(op, operands, shape=shape)


def _extremum(build: Builder, op: str, operands: list[Value]) -> Flow:
    """The largest or smallest of integers, two at a time."""
    best = build.flow(operands[0])
    for each in operands[1:]:
        other = build.flow(each)
        pair = [best, other] if op == "max" else [other, best]
        is_other = build.stage("less", pair, shape=common_shape([best.shape, other.shape]))
        best = build.stage("where", [is_other, other, best], shape=is_other.shape)
    return best


def _as_f32(value: Known) -> Known:
    return Known(value.array.astype(np.float32))


def common_shape(shapes: list[Shape]) -> Shape:
    """The shape operands broadcast to; RefusedError where they do not."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(list(shape)) for shape in shapes)
        raise RefusedError(f"the shapes {listed} do not broadcast") from None


@importer("MatMul")
def matmul(call: Call, build: Builder) -> Flow:
    """Matrices; a vector is a row on the left, a column on the right."""
    a, b = call.flow(0), call.flow(1)
    if not a.shape or not b.shape:
        raise RefusedError("an operand has no axes")
    if isinstance(a, Flow) and isinstance(b, Known) and len(a.shape) == len(b.shape) == 2:
        weight = _floats(b.array, "second operand").T
        return _dense(build, a, weight, None)
    left = _matrix(build, a, (1, *a.shape)) if len(a.shape) == 1 else a
    right = _matrix(build, b, (*b.shape, 1)) if len(b.shape) == 1 else b
    made = build.stage("matmul", [build.flow(left), build.flow(right)])
    shape = list(made.shape)
    if len(b.shape) == 1:
        del shape[-1]
    if len(a.shape) == 1:
        del shape[-1 if len(b.shape) == 1 else -2]
    return build.reshape(made, shape)


def _matrix(build: Builder, value: Value, shape: Shape) -> Value:
    if isinstance(value, Known):
        return Known(value.array.reshape(shape))
    return build.reshape(value, shape)


@importer("Gemm")
def gemm(call: Call, build: Builder) -> Flow:
    """alpha A B + beta C; with a known B it is `dense`."""
    a, b, c = build.flow(call.flow(0)), call.flow(1), call.operand(2)
    if a.rank != 2 or len(b.shape) != 2:
        raise RefusedError("an operand is no matrix")
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    if call.integer("transA"):
        a = build.transpose(a, (1, 0))
    if isinstance(b, Known):
        weight = _floats(b.array, "second operand")
        weight = weight if call.integer("transB") else weight.T
        if alpha != 1:
            weight = (weight * weight.dtype.type(alpha)).astype(weight.dtype)
        bias = _bias(c, beta, weight.shape[0])
        made = _dense(build, a, weight, bias)
        return made if c is None or bias is not None else _plus(build, made, c, beta)
    if call.integer("transB"):
        b = build.transpose(b, (1, 0))
    made = build.stage("matmul", [a, b])
    if alpha != 1:
        made = build.stage("mul", [made, alpha])
    return made if c is None else _plus(build, made, c, beta)


def _bias(c: Value | None, beta: float, features: int) -> Array | None:
    """What Gemm adds, if it is one number for each feature."""
    if not isinstance(c, Known) or c.array.shape not in ((features,), (1, features), (1,), ()):
        return None
    bias = _floats(c.array, "third operand")
    bias = bias * bias.dtype.type(beta)
    return np.broadcast_to(bias.reshape(-1), (features,)).astype(bias.dtype)


def _plus(build: Builder, made: Flow, c: Value, beta: float) -> Flow:
    if common_shape([made.shape, c.shape]) != made.shape:
        raise RefusedError(f"{list(c.shape)} does not broadcast to {list(made.shape)}")
    scaled = build.stage("mul", [build.flow(c), beta], shape=c.shape) if beta != 1 else c
    return build.stage("add", [made, scaled])


def _dense(build: Builder, a: Flow, weight: Array, bias: Array | None) -> Flow:
    if a.shape[-1] != weight.shape[1]:
        raise RefusedError(f"{a.shape[-1]} columns meet {weight.shape[1]} rows")
    attributes = {"features": weight.shape[0], **({"bias": False} if bias is None else {})}
    parameters = {"weight": weight, **({} if bias is None else {"bias": bias})}
    return build.stage("dense", [a], attributes, parameters)


def _floats(array: Array, what: str) -> NDArray[np.floating[Any]]:
    if array.dtype not in (np.float32, np.float64):
        raise RefusedError(f"its {what} is {array.dtype}, which is no floating point of cnnc")
    if 0 in array.shape:
        raise RefusedError(f"its {what} has no elements")
    return cast(NDArray[np.floating[Any]], array)
