"""Factors and offsets of channels, as exporters leave them of batchnorms.

Right behind a layer they become part of its weights, elsewhere they are a batchnorm.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cnnc.onnx.flat import Array, FlatNet, Stage
from cnnc.onnx.tidying.edits import LAYERS, Change, free_key, join

Numbers = NDArray[np.float64]


def fold_factors(net: FlatNet) -> FlatNet:
    """Products and sums of a layer's result with a tensor of its channels, in double precision."""
    return join(net, _into_layer)


def find_batchnorms(net: FlatNet) -> FlatNet:
    """`batchnorm` for x * weight + bias with tensors of channels: mean 0, variance 1, eps 0."""
    return join(net, _batchnorm)


def _into_layer(
    stage: Stage, before: Mapping[str, Stage], arrays: Mapping[str, Array]
) -> Change | None:
    found = _channels(stage, before, arrays)
    if found is None or found[0].op not in LAYERS:
        return None
    layer, values = found
    if layer.op == "conv_transpose" and layer.attributes.get("groups", 1) != 1:
        return None
    weight = arrays[layer.parameters["weight"]]
    key = layer.parameters.get("bias")
    bias = np.zeros(values.size) if key is None else arrays[key].astype(np.float64)
    made: dict[str, Array] = {}
    if stage.op == "mul":
        axis = 1 if layer.op == "conv_transpose" else 0
        spread = values.reshape([-1 if place == axis else 1 for place in range(weight.ndim)])
        made["weight"] = (weight.astype(np.float64) * spread).astype(weight.dtype)
        bias = bias * values
    else:
        bias = bias + values
    if key is not None or stage.op == "add":
        made["bias"] = bias.astype(weight.dtype)
    keys = {name: free_key(f"{layer.name}.{name}", arrays) for name in made}
    joined = replace(
        layer,
        attributes={**layer.attributes, "bias": "bias" in made or key is not None},
        parameters={**layer.parameters, **keys},
    )
    return joined, {keys[name]: value for name, value in made.items()}


def _batchnorm(
    stage: Stage, before: Mapping[str, Stage], arrays: Mapping[str, Array]
) -> Change | None:
    found = _channels(stage, before, arrays)
    if found is None or stage.op != "add" or found[0].op != "mul":
        return None
    product, offset = found
    scaled = _channels(product, before, arrays, is_any=True)
    x = next((each for each in product.operands if not _is_tensor(each, before)), None)
    if scaled is None or x is None:
        return None
    values = {
        "weight": scaled[1], "bias": offset,
        "mean": np.zeros(offset.size), "var": np.ones(offset.size),
    }  # fmt: skip
    keys = {name: free_key(f"{product.name}.{name}", arrays) for name in values}
    made = replace(product, op="batchnorm", attributes={"eps": 0.0}, operands=(x,), parameters=keys)
    dtype = stage.result.dtype.numpy
    return made, {keys[name]: value.astype(dtype) for name, value in values.items()}


def _is_tensor(name: str | float, before: Mapping[str, Stage]) -> bool:
    return str(name) in before and before[str(name)].op == "tensor"


def _channels(
    stage: Stage,
    before: Mapping[str, Stage],
    arrays: Mapping[str, Array],
    *,
    is_any: bool = False,
) -> tuple[Stage, Numbers] | None:
    """The stage before a product or sum, and what each channel is multiplied with or added."""
    if stage.op not in ("mul", "add") or len(stage.operands) != 2:
        return None
    if (number := _of_one_channel(stage, before)) is not None:
        return number
    tensors = [str(each) for each in stage.operands if _is_tensor(each, before)]
    others = [each for each in stage.operands if not _is_tensor(each, before)]
    if len(tensors) != 1 or not isinstance(others[0], str):
        return None
    if others[0] not in before and not is_any:
        return None
    shape, array = stage.result.shape, arrays[before[tensors[0]].parameters[""]]
    aligned = (1,) * (len(shape) - array.ndim) + array.shape
    if len(shape) < 2 or aligned != (1, shape[1], *(1,) * (len(shape) - 2)):
        return None
    return before.get(others[0], stage), array.reshape(-1).astype(np.float64)


def _of_one_channel(stage: Stage, before: Mapping[str, Stage]) -> tuple[Stage, Numbers] | None:
    """A number that is added to a layer of one channel without bias."""
    layer = next((before[str(each)] for each in stage.operands if str(each) in before), None)
    number = next((each for each in stage.operands if isinstance(each, float)), None)
    if stage.op != "add" or layer is None or layer.op not in LAYERS or number is None:
        return None
    if layer.attributes.get("bias", True) or stage.result.shape[1] != 1:
        return None
    return layer, np.array([number])
