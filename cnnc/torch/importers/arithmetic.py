"""Arithmetic with broadcasting, matrices."""

from math import prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.importers.arithmetic import broadcast
from cnnc.onnx.values import Flow, Known, RefusedError, Value, shortest
from cnnc.ops.attributes import Value as Attribute
from cnnc.torch.call import Call, through
from cnnc.torch.registry import importer

_OPERATORS = {
    "add": "add", "sub": "sub", "rsub": "sub", "mul": "mul", "div": "div", "pow": "pow",
    "maximum": "max", "minimum": "min",
}  # fmt: skip


@importer(*_OPERATORS)
def pair(call: Call, build: Builder) -> Flow:
    """Two operands, the second of which `alpha` may scale."""
    rounding = call.arguments.get("rounding_mode")
    if rounding == "floor":
        raise RefusedError("it rounds down what it divides")  # by a remainder that is not rounded
    a = call.promoted(build, "self")
    b = call.promoted(build, "exponent" if call.op == "pow" else "other")
    if call.op == "pow" and isinstance(b, Known) and b.array.size == 1 and b.array == 2:
        return broadcast(build, "mul", [a, a])
    alpha = call.number("alpha", 1.0)
    if call.op == "rsub":
        a, b = b, _scaled(build, a, alpha)
    else:
        b = _scaled(build, b, alpha)
    made = broadcast(build, _OPERATORS[call.op], [a, b])
    return made if rounding is None else toward_zero(build, made)


def _scaled(build: Builder, value: Value, factor: float) -> Value:
    if factor == 1:
        return value
    if isinstance(value, Known):
        return Known(np.multiply(value.array, np.float32(factor)))
    return build.stage("mul", [value, factor], shape=value.shape)


def toward_zero(build: Builder, x: Flow) -> Flow:
    """Without what comes after the point."""
    lower, upper = through(build, "Floor", [x]), through(build, "Ceil", [x])
    below = build.stage("less", [x, 0.0], shape=x.shape)
    return build.stage("where", [below, upper, lower], shape=x.shape)


@importer("floor", "ceil", "trunc", "sign")
def rounded(call: Call, build: Builder) -> Flow:
    """Whole numbers, or 1 and -1."""
    x = build.flow(call.value("self"))
    return toward_zero(build, x) if call.op == "trunc" else through(build, call.op.title(), [x])


@importer("linear")
def linear(call: Call, build: Builder) -> Flow:
    """Along the last axis; those before it are samples."""
    x, weight, bias = build.flow(call.value("input")), call.known("weight"), call.known("bias")
    assert weight is not None
    if weight.dtype != np.float32 or weight.ndim != 2 or not weight.size or not x.rank:
        raise RefusedError(f"its weight is {weight.dtype} of shape {list(weight.shape)}")
    if call.keeps_samples and x.rank > 2:
        return _product(build, x, weight, bias)
    flat = x if x.rank == 2 else build.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))
    attributes: dict[str, Attribute] = {"features": weight.shape[0]}
    parameters = {"weight": weight}
    if bias is None:
        attributes["bias"] = False
    else:
        parameters["bias"] = bias
    made = build.stage("dense", [flat], attributes, parameters)
    return build.reshape(made, (*x.shape[:-1], weight.shape[0]))


def _product(build: Builder, x: Flow, weight: Array, bias: Array | None) -> Flow:
    """As matrices, which leave the samples where they are."""
    front = (1,) * (x.rank - 2)
    made = build.stage("matmul", [x, Known(weight.T.reshape(*front, *weight.T.shape))])
    return made if bias is None else build.stage("add", [made, Known(bias.reshape(*front, 1, -1))])


@importer("addmm")
def addmm(call: Call, build: Builder) -> Flow:
    """beta self + alpha a b."""
    operands = [call.value("mat1"), call.value("mat2"), call.value("self")]
    factors = {"alpha": call.number("alpha", 1.0), "beta": call.number("beta", 1.0)}
    return through(build, "Gemm", operands, **factors)


@importer("mm", "bmm", "matmul")
def matmul(call: Call, build: Builder) -> Flow:
    """Matrices, and stacks of them."""
    other = "other" if call.op == "matmul" else "mat2"
    return through(build, "MatMul", [call.value("self"), call.value(other)])


@importer("scaled_dot_product_attention")
def attention(call: Call, build: Builder) -> Flow:
    """softmax(q kᵀ / √size + mask) v. Where a mask of truth values hides all, torch gives 0."""
    q, k, v = (build.flow(call.value(name)) for name in ("query", "key", "value"))
    mask = call.optional("attn_mask")
    is_float = mask is None or (isinstance(mask, Flow) and mask.dtype is DType.F32)
    is_float = is_float or (isinstance(mask, Known) and mask.array.dtype == np.float32)
    if call.number("dropout_p", 0.0) or call.arguments.get("enable_gqa") or not is_float:
        raise RefusedError("it drops elements, shares keys among queries or has a mask of bool")
    if call.arguments.get("is_causal"):
        hidden = np.triu(np.full((q.shape[-2], k.shape[-2]), -np.inf, np.float32), 1)
        mask = Known(hidden)
    turned = build.transpose(k, (*range(k.rank - 2), k.rank - 1, k.rank - 2))
    scale = call.number("scale", float(1 / np.sqrt(np.float32(q.shape[-1]))))
    scores = build.stage("matmul", [build.stage("mul", [q, shortest(scale)]), turned])
    if mask is not None:
        scores = broadcast(build, "add", [scores, mask])
    return build.stage("matmul", [build.stage("softmax", [scores], {"axis": q.rank - 1}), v])
