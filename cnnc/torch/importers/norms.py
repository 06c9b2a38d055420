"""Normalisation, in inference."""

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.values import Flow, RefusedError
from cnnc.ops.attributes import Value as Attribute
from cnnc.torch.call import Call
from cnnc.torch.registry import importer


@importer("batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training")
def batch_norm(call: Call, build: Builder) -> list[Flow]:
    """With the means and variances of training."""
    call.only(1)
    if call.arguments.get("training"):
        raise RefusedError("it normalises by the samples of the batch, as in training")
    return [_by_statistics(call, build)]


def _by_statistics(call: Call, build: Builder) -> Flow:
    x = build.flow(call.value("input"))
    mean, var = call.known("running_mean"), call.known("running_var")
    if mean is None or var is None:
        raise RefusedError("it has no running mean and variance")
    weight, bias = call.known("weight"), call.known("bias")
    parameters = {
        "weight": np.ones_like(mean) if weight is None else weight,
        "bias": np.zeros_like(mean) if bias is None else bias,
        "mean": mean,
        "var": var,
    }
    return build.stage("batchnorm", [x], _eps(call), _f32(parameters))


@importer("instance_norm")
def instance_norm(call: Call, build: Builder) -> Flow:
    """By the statistics of each sample, or by running ones, as a batchnorm."""
    if not call.arguments.get("use_input_stats"):
        return _by_statistics(call, build)
    return _affine(call, build, "instance_norm", {})


@importer("group_norm", "native_group_norm")
def group_norm(call: Call, build: Builder) -> list[Flow]:
    """The two differ in what their arguments are called."""
    call.only(1)
    groups = call.integer("num_groups" if call.op == "group_norm" else "group")
    return [_affine(call, build, "group_norm", {"groups": groups})]


@importer("layer_norm", "native_layer_norm")
def layer_norm(call: Call, build: Builder) -> list[Flow]:
    """Over the last axes."""
    call.only(1)
    x, shape = build.flow(call.value("input")), call.arguments["normalized_shape"]
    axes = tuple(range(x.rank - len(shape), x.rank))
    if not axes or axes[0] == 0:
        raise RefusedError("it normalises over the batch")
    return [_affine(call, build, "layer_norm", {"axes": axes})]


def _affine(call: Call, build: Builder, op: str, more: dict[str, Attribute]) -> Flow:
    """An operator with weight and bias, or neither."""
    x = build.flow(call.value("input"))
    weight, bias = call.known("weight"), call.known("bias")
    attributes = {**more, **_eps(call)}
    if weight is None and bias is None:
        return build.stage(op, [x], {**attributes, "affine": False})
    if weight is None:
        assert bias is not None
        weight = np.ones_like(bias)
    bias = np.zeros_like(weight) if bias is None else bias
    return build.stage(op, [x], attributes, _f32({"weight": weight, "bias": bias}))


def _eps(call: Call) -> dict[str, Attribute]:
    eps = call.number("eps", 1e-5)
    return {} if eps == 1e-5 else {"eps": eps}


def _f32(parameters: dict[str, Array]) -> dict[str, Array]:
    for name, array in parameters.items():
        if array.dtype != np.float32:
            raise RefusedError(f"its {name} is {array.dtype}, and cnnc computes in f32")
    return parameters
