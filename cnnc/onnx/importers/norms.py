"""Normalisation."""

from math import prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, RefusedError, Value, axis_of, shortest
from cnnc.ops.attributes import Symbol
from cnnc.ops.attributes import Value as Attribute


@importer("BatchNormalization")
def batchnorm(call: Call, build: Builder) -> Flow:
    """Inference only, with one mean for each channel."""
    x = build.flow(call.flow(0))
    if call.integer("training_mode") or not call.integer("spatial", 1):
        raise RefusedError("it normalises as in training, or every position on its own")
    if call.opset < 7 and not call.integer("is_test"):
        raise RefusedError("without `is_test` it normalises as in training")
    call.only(1)
    names = ("weight", "bias", "mean", "var")
    parameters = {
        name: _floats(call.needed(place, name), name) for place, name in enumerate(names, 1)
    }
    return build.stage("batchnorm", [x], _eps(call), parameters)


@importer("InstanceNormalization")
def instance_norm(call: Call, build: Builder) -> Flow:
    """Weight and bias must be known."""
    x = build.flow(call.flow(0))
    parameters = {"weight": _floats(call.needed(1, "scale"), "scale")}
    parameters["bias"] = _floats(call.needed(2, "bias"), "bias")
    return build.stage("instance_norm", [x], _eps(call), parameters)


@importer("GroupNormalization")
def group_norm(call: Call, build: Builder) -> Flow:
    """Before opset 21 a weight is for a whole group."""
    x, groups = build.flow(call.flow(0)), call.integer("num_groups")
    weight, bias = (
        _floats(call.needed(1, "scale"), "scale"),
        _floats(call.needed(2, "bias"), "bias"),
    )
    if groups < 1 or x.rank < 2 or x.shape[1] % groups:
        raise RefusedError(f"{groups} groups do not divide its channels")
    if call.opset < 21:
        if weight.shape != (groups,) or bias.shape != (groups,):
            raise RefusedError("scale and bias are not one for each group")
        build.spend(2 * x.shape[1])
        weight, bias = (np.repeat(each, x.shape[1] // groups) for each in (weight, bias))
    parameters = {"weight": weight, "bias": bias}
    return build.stage("group_norm", [x], {"groups": groups, **_eps(call)}, parameters)


@importer("LayerNormalization")
def layer_norm(call: Call, build: Builder) -> list[Value]:
    """Over all axes from `axis` on; mean and 1 / deviation are results where somebody asks."""
    x = build.flow(call.flow(0))
    axis = axis_of(call.integer("axis", -1), x.rank)
    shape = x.shape[axis:]
    scale = _floats(call.needed(1, "scale"), "scale")
    bias = call.known(2, "bias")
    build.spend(2 * prod(shape))
    weight = _spread(scale, shape, "scale")
    offset = np.zeros(shape, scale.dtype) if bias is None else _spread(bias, shape, "bias")
    shift = 1 if axis == 0 else 0  # the language does not normalise the batch
    held = build.reshape(x, (1, *x.shape)) if shift else x
    axes = tuple(range(axis + shift, x.rank + shift))
    attributes: dict[str, Attribute] = {"axes": axes, **_eps(call)}
    made = build.stage("layer_norm", [held], attributes, {"weight": weight, "bias": offset})
    results: list[Value] = [build.reshape(made, x.shape)]
    return [*results, *_moments(call, build, x, axis)] if any(call.used[1:]) else results


def _moments(call: Call, build: Builder, x: Flow, axis: int) -> list[Value]:
    """Mean and 1 / √(var + eps) of each line, with axes of extent 1."""
    count = prod(x.shape[axis:])
    kept = (*x.shape[:axis], *(1,) * (x.rank - axis))
    flat = build.reshape(x, (prod(x.shape[:axis]), count))
    along: dict[str, Attribute] = {"kind": Symbol("mean"), "axes": 1, "keep": True}
    mean = build.stage("reduce", [flat], along)
    distance = build.stage("sub", [flat, mean])
    square = build.stage("mul", [distance, distance])
    moved = build.stage(
        "add", [build.stage("reduce", [square], along), call.number("epsilon", 1e-5)]
    )
    inverse = build.stage("div", [1.0, build.stage("sqrt", [moved])])
    return [build.reshape(mean, kept), build.reshape(inverse, kept)]


@importer("LRN")
def lrn(call: Call, build: Builder) -> Flow:
    """The same formula."""
    attributes: dict[str, Attribute] = {
        "size": call.integer("size"),
        "alpha": call.number("alpha", 0.0001),
        "beta": call.number("beta", 0.75),
        "k": call.number("bias", 1.0),
    }
    return build.stage("lrn", [build.flow(call.flow(0))], attributes)


def _eps(call: Call) -> dict[str, Attribute]:
    eps, x = call.number("epsilon", 1e-5), call.flow(0)
    if isinstance(x, Flow) and x.dtype is DType.F32:
        eps = _rounded(eps)
    return {} if eps == 1e-5 else {"eps": eps}


def _rounded(eps: float) -> float:
    """The number that was meant: some exporters write 1.0000001e-05, the f32 beside 1e-5."""
    short, given = np.float32(f"{eps:.6g}"), np.float32(eps)
    return shortest(short) if abs(short - given) <= np.spacing(given) else eps


def _floats(array: Array, what: str) -> Array:
    if array.dtype not in (np.float32, np.float64):
        raise RefusedError(f"its {what} is {array.dtype}, which is no floating point of cnnc")
    return array


def _spread(array: Array, shape: tuple[int, ...], what: str) -> Array:
    try:
        return np.broadcast_to(_floats(array, what), shape)
    except ValueError:
        raise RefusedError(f"its {what} has shape {list(array.shape)}, not {list(shape)}") from None
