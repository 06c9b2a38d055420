"""Functions of one tensor, element by element, and softmax."""

from collections.abc import Mapping
from math import prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.importers.arithmetic import common_shape
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, Known, RefusedError, axis_of
from cnnc.ops.attributes import Symbol

PLAIN: Mapping[str, str] = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hardswish",
    "Softplus": "softplus", "Softsign": "softsign", "Mish": "mish",
    "Abs": "abs", "Neg": "neg", "Exp": "exp", "Log": "log", "Sqrt": "sqrt",
}  # fmt: skip
"""Operators without attributes that mean the same."""

_SELU = (1.6732631921768188, 1.0507010221481323)


@importer(*PLAIN)
def plain(call: Call, build: Builder) -> Flow:
    """One operator for one."""
    return _same(build, PLAIN[call.op], call)


@importer("LeakyRelu")
def leaky_relu(call: Call, build: Builder) -> Flow:
    """`alpha` is the slope."""
    return _same(build, "leaky_relu", call, slope=call.number("alpha", 0.01))


@importer("Elu", "Celu")
def elu(call: Call, build: Builder) -> Flow:
    """`alpha` is called the same."""
    return _same(build, call.op.lower(), call, alpha=call.number("alpha", 1.0))


@importer("Selu")
def selu(call: Call, build: Builder) -> Flow:
    """Other factors than those of the paper are a scaled `elu`."""
    before_6 = call.opset < 6
    alpha = call.number("alpha", 1.6732 if before_6 else _SELU[0])
    gamma = call.number("gamma", 1.0507 if before_6 else _SELU[1])
    if np.allclose((alpha, gamma), _SELU, rtol=1e-6):
        return _same(build, "selu", call)
    return _scaled(build, _same(build, "elu", call, alpha=alpha), gamma)


@importer("HardSigmoid")
def hard_sigmoid(call: Call, build: Builder) -> Flow:
    """Defaults differ."""
    alpha, beta = call.number("alpha", 0.2), call.number("beta", 0.5)
    return _same(build, "hard_sigmoid", call, alpha=alpha, beta=beta)


@importer("Gelu")
def gelu(call: Call, build: Builder) -> Flow:
    """The same choices."""
    return _same(build, "gelu", call, approximate=Symbol(call.word("approximate", "none")))


@importer("Swish")
def swish(call: Call, build: Builder) -> Flow:
    """x * sigmoid(alpha x)."""
    alpha = call.number("alpha", 1.0)
    if alpha == 1:
        return _same(build, "silu", call)
    x = build.flow(call.flow(0))
    gate = build.stage("sigmoid", [_scaled(build, x, alpha)], shape=x.shape)
    return build.stage("mul", [x, gate], shape=x.shape)


@importer("Reciprocal")
def reciprocal(call: Call, build: Builder) -> Flow:
    """1 / x."""
    x = build.flow(call.flow(0))
    return build.stage("div", [1.0, x], shape=x.shape)


@importer("PRelu")
def prelu(call: Call, build: Builder) -> Flow:
    """Known slopes for each channel, or one; others by max and min."""
    x, slope = build.flow(call.flow(0)), call.flow(1)
    weight = _slopes(slope.array, x, is_old=call.opset < 7) if isinstance(slope, Known) else None
    if weight is not None:
        shared = {"shared": True} if weight.size == 1 and x.shape[1] != 1 else {}
        return build.stage("prelu", [x], shared, {"weight": weight})
    if common_shape([x.shape, slope.shape]) != x.shape:
        raise RefusedError(f"slopes of {list(slope.shape)} do not broadcast to {list(x.shape)}")
    positive = build.stage("max", [x, 0.0], shape=x.shape)
    negative = build.stage("min", [x, 0.0], shape=x.shape)
    scaled = build.stage("mul", [negative, slope], shape=x.shape)
    return build.stage("add", [positive, scaled], shape=x.shape)


def _slopes(slope: Array, x: Flow, *, is_old: bool) -> Array | None:
    """Slopes that are one for each channel, or for all; None otherwise.

    Before opset 7 they do not broadcast, and a list of them is for the channels.
    """
    if x.rank < 2 or slope.dtype != np.float32 or slope.ndim > x.rank:
        return None
    aligned = (1,) * (x.rank - slope.ndim) + slope.shape
    if slope.size == 1:
        return slope.reshape(1)
    if is_old and slope.shape == x.shape[1:2]:
        return slope
    is_each = aligned == (1, x.shape[1], *(1,) * (x.rank - 2))
    return slope.reshape(-1) if is_each else None


@importer("Clip")
def clip(call: Call, build: Builder) -> Flow:
    """Limits are attributes up to opset 10, operands after that; either may be left out."""
    x = build.flow(call.flow(0))
    if call.opset < 11:
        # what opset 6 gives as defaults, the largest f32, clips nothing but infinities
        low, high = call.attributes.get("min"), call.attributes.get("max")
        limits: list[Known | Flow | None] = [
            None if each is None else Known(np.array(each, np.float32)) for each in (low, high)
        ]
    else:
        limits = [call.operand(1), call.operand(2)]
    if x.dtype is DType.U8:
        return build.cast(_clipped(build, build.cast(x, DType.F32), limits), DType.U8)
    return _clipped(build, x, limits)


def _clipped(build: Builder, x: Flow, limits: list[Known | Flow | None]) -> Flow:
    ends = [_limit(each) for each in limits]
    low, high = ends
    if isinstance(low, float) and isinstance(high, float) and low <= high:
        if (low, high) == (0.0, 6.0):
            return build.stage("relu6", [x], shape=x.shape)
        return build.stage("clip", [x], {"low": low, "high": high}, shape=x.shape)
    for op, end in (("max", low), ("min", high)):
        if end is not None:
            x = build.stage(op, [x, end], shape=x.shape)
    return x if any(end is not None for end in ends) else build.stage("id", [x], shape=x.shape)


def _limit(value: Known | Flow | None) -> float | Flow | None:
    if isinstance(value, Known):
        if value.array.size != 1 or value.array.dtype.kind not in "fiu":
            raise RefusedError("a limit is no single number")
        number = float(str(value.array.reshape(-1)[0]))
        if np.isnan(number):
            raise RefusedError("a limit is NaN")
        return None if np.isinf(number) else number
    return value


@importer("Softmax", "LogSoftmax")
def softmax(call: Call, build: Builder) -> Flow:
    """Before opset 13 all axes from `axis` on are one."""
    x = build.flow(call.flow(0))
    op = "softmax" if call.op == "Softmax" else "log_softmax"
    if x.rank == 0:
        raise RefusedError("its operand has no axes")
    if call.opset >= 13:
        axis = axis_of(call.integer("axis", -1), x.rank)
        return build.stage(op, [x], {"axis": axis})
    axis = call.integer("axis", 1)
    axis = axis if axis == x.rank else axis_of(axis, x.rank)
    if axis == x.rank - 1 or (prod(x.shape[axis + 1 :]) == 1 and axis < x.rank):
        return build.stage(op, [x], {"axis": axis})
    flat = build.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))
    return build.reshape(build.stage(op, [flat], {"axis": 1}), x.shape)


def _same(build: Builder, op: str, call: Call, **attributes: float | Symbol) -> Flow:
    x = build.flow(call.flow(0))
    return build.stage(op, [x], attributes, shape=x.shape)


def _scaled(build: Builder, x: Flow, factor: float) -> Flow:
    return build.stage("mul", [x, factor], shape=x.shape)
