"""Arithmetic with broadcasting, matrices."""

from math import prod

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.importers.arithmetic import broadcast
from cnnc.onnx.values import Flow, Known, RefusedError, Value
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
    if call.arguments.get("rounding_mode") is not None:
        raise RefusedError("it rounds what it divides")
    a, b = call.value("self"), call.value("exponent" if call.op == "pow" else "other")
    if call.op == "pow" and isinstance(b, Known) and b.array.size == 1 and b.array == 2:
        return broadcast(build, "mul", [a, a])
    alpha = call.number("alpha", 1.0)
    if call.op == "rsub":
        a, b = b, _scaled(build, a, alpha)
    else:
        b = _scaled(build, b, alpha)
    return broadcast(build, _OPERATORS[call.op], [_f32(a), _f32(b)])


def _scaled(build: Builder, value: Value, factor: float) -> Value:
    if factor == 1:
        return value
    if isinstance(value, Known):
        return Known(np.multiply(value.array, np.float32(factor)))
    return build.stage("mul", [value, factor], shape=value.shape)


def _f32(value: Value) -> Value:
    """Numbers without axes take the type of the tensor they meet."""
    if isinstance(value, Known) and not value.shape:
        return Known(value.array.astype(np.float32))
    return value


@importer("linear")
def linear(call: Call, build: Builder) -> Flow:
    """Along the last axis; those before it are samples."""
    x, weight, bias = build.flow(call.value("input")), call.known("weight"), call.known("bias")
    assert weight is not None
    if weight.dtype != np.float32 or weight.ndim != 2 or not weight.size or not x.rank:
        raise RefusedError(f"its weight is {weight.dtype} of shape {list(weight.shape)}")
    flat = x if x.rank == 2 else build.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))
    attributes: dict[str, Attribute] = {"features": weight.shape[0]}
    parameters = {"weight": weight}
    if bias is None:
        attributes["bias"] = False
    else:
        parameters["bias"] = bias
    made = build.stage("dense", [flat], attributes, parameters)
    return build.reshape(made, (*x.shape[:-1], weight.shape[0]))


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
