"""Functions of one tensor, element by element, and softmax."""

from collections.abc import Mapping
from math import isclose

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.values import Flow, Known, RefusedError, axis_of, shortest
from cnnc.ops.attributes import Symbol
from cnnc.torch.call import Call, through
from cnnc.torch.registry import importer

PLAIN: Mapping[str, str] = {
    "relu": "relu", "relu6": "relu6", "sigmoid": "sigmoid", "tanh": "tanh", "silu": "silu",
    "hardswish": "hardswish", "mish": "mish", "abs": "abs", "neg": "neg", "exp": "exp",
    "log": "log", "sqrt": "sqrt", "round": "round",
}  # fmt: skip
"""Operators without attributes that mean the same."""
_SELU = (1.6732632423543772, 1.0507009873554805)
_THRESHOLD = 15.0
"""From here on, log(1 + exp(x)) is x in f32."""


@importer(*PLAIN)
def plain(call: Call, build: Builder) -> Flow:
    """One operator for one."""
    if call.arguments.get("decimals"):
        raise RefusedError("it rounds to decimals")
    return _same(call, build, PLAIN[call.op])


@importer("leaky_relu")
def leaky_relu(call: Call, build: Builder) -> Flow:
    """The slope is called otherwise."""
    return _same(call, build, "leaky_relu", slope=call.number("negative_slope", 0.01))


@importer("gelu")
def gelu(call: Call, build: Builder) -> Flow:
    """The same choices."""
    kind = str(call.arguments.get("approximate", "none"))
    more = {} if kind == "none" else {"approximate": Symbol(kind)}
    return _same(call, build, "gelu", **more)


@importer("hardsigmoid")
def hard_sigmoid(call: Call, build: Builder) -> Flow:
    """x / 6 + 1/2 between 0 and 1."""
    return _same(call, build, "hard_sigmoid", alpha=shortest(1 / 6), beta=0.5)


@importer("elu", "selu", "celu")
def elu(call: Call, build: Builder) -> Flow:
    """`elu` has factors that make it the others."""
    if call.op == "selu":
        return _same(call, build, "selu")
    alpha, scale = call.number("alpha", 1.0), call.number("scale", 1.0)
    inner = call.number("input_scale", 1.0)
    if call.op == "celu" or (alpha != 1 and isclose(inner * alpha, 1.0)):
        made = _same(call, build, "celu", alpha=alpha)
    elif inner != 1:
        raise RefusedError("its operand is scaled")
    elif np.allclose((alpha, scale), _SELU, rtol=1e-6):
        return _same(call, build, "selu")
    else:
        made = _same(call, build, "elu", alpha=alpha)
    return made if scale == 1 else build.stage("mul", [made, scale], shape=made.shape)


@importer("softplus")
def softplus(call: Call, build: Builder) -> Flow:
    """softplus(beta x) / beta."""
    beta = call.number("beta", 1.0)
    if call.number("threshold", 20.0) < _THRESHOLD or beta == 0:
        raise RefusedError("its threshold changes results")
    x = build.flow(call.value("self"))
    held = x if beta == 1 else build.stage("mul", [x, beta], shape=x.shape)
    made = build.stage("softplus", [held], shape=x.shape)
    return made if beta == 1 else build.stage("div", [made, beta], shape=x.shape)


@importer("log_sigmoid")
def log_sigmoid(call: Call, build: Builder) -> Flow:
    """-softplus(-x)."""
    x = build.flow(call.value("self"))
    below = build.stage("softplus", [build.stage("neg", [x], shape=x.shape)], shape=x.shape)
    return build.stage("neg", [below], shape=x.shape)


@importer("rrelu")
def rrelu(call: Call, build: Builder) -> Flow:
    """In inference the slope is the middle of what it is drawn from."""
    if call.arguments.get("training"):
        raise RefusedError("its slope is drawn, as in training")
    slope = (call.number("lower", 1 / 8) + call.number("upper", 1 / 3)) / 2
    return _same(call, build, "leaky_relu", slope=shortest(slope))


@importer("log2", "log10")
def logarithm(call: Call, build: Builder) -> Flow:
    """The natural one, divided by that of the base."""
    made = _same(call, build, "log")
    base = float(np.log(2 if call.op == "log2" else 10))
    return build.stage("mul", [made, shortest(1 / base)], shape=made.shape)


@importer("hardtanh", "clamp", "clamp_min", "clamp_max")
def clamp(call: Call, build: Builder) -> Flow:
    """Limits are numbers or tensors; either may be left out."""
    names = ("min_val", "max_val") if call.op == "hardtanh" else ("min", "max")
    x = build.flow(call.value("self"))
    made = through(build, "Clip", [x, *(call.optional(name) for name in names)])
    return made


@importer("prelu", "_prelu_kernel")
def prelu(call: Call, build: Builder) -> Flow:
    """One slope, or one for each channel."""
    x, weight = build.flow(call.value("self")), call.value("weight")
    if isinstance(weight, Known) and call.op == "prelu" and x.rank > 2:
        weight = Known(weight.array.reshape(-1, *(1,) * (x.rank - 2)))
    return through(build, "PRelu", [x, weight])


@importer("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(call: Call, build: Builder) -> Flow:
    """Along one axis."""
    x = build.flow(call.value("self"))
    op = call.op.removeprefix("_")
    return build.stage(op, [x], {"axis": axis_of(call.integer("dim"), x.rank)})


@importer("rsqrt", "reciprocal", "square")
def power(call: Call, build: Builder) -> Flow:
    """By what the language has."""
    x = build.flow(call.value("self"))
    if call.op == "square":
        return build.stage("mul", [x, x], shape=x.shape)
    below = build.stage("sqrt", [x], shape=x.shape) if call.op == "rsqrt" else x
    return build.stage("div", [1.0, below], shape=x.shape)


def _same(call: Call, build: Builder, op: str, **attributes: float | Symbol) -> Flow:
    x = build.flow(call.value("self", "input"))
    return build.stage(op, [x], attributes, shape=x.shape)
