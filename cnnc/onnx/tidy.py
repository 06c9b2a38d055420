"""Flat nets made simpler before they become text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cnnc.base.layout import Shape
from cnnc.ir.types import TensorType
from cnnc.onnx.flat import Array, FlatNet, Stage
from cnnc.onnx.tidying.blocks import find_blocks
from cnnc.onnx.tidying.edits import (
    LAYERS,
    Change,
    free_key,
    join,
    put_in_order,
    shapes_of,
    sources,
)
from cnnc.onnx.tidying.factors import find_batchnorms, fold_factors
from cnnc.onnx.tidying.gelus import find_gelus
from cnnc.onnx.tidying.global_pools import find_global_pools
from cnnc.onnx.tidying.layouts import move_layouts
from cnnc.onnx.tidying.pads import join_pads
from cnnc.onnx.tidying.preprocessing import find_preprocessing
from cnnc.onnx.tidying.upsampling import find_upsampling
from cnnc.ops.attributes import Padding, Symbol, Value
from cnnc.ops.conv import Conv
from cnnc.ops.movement.slice import Slice
from cnnc.ops.pool import Pool
from cnnc.ops.spec import find
from cnnc.ops.unshared import Unshared


def tidy(net: FlatNet, *, keep_weights: bool = False) -> FlatNet:
    """The net as text should show it, computing the same.

    With `keep_weights` the arrays stay what they are, so that a file of them fits that another has
    written; only added tensors become biases.
    """
    for step in STEPS:
        if not keep_weights or step not in CHANGING:
            net = step(net)
    return net


def join_biases(net: FlatNet) -> FlatNet:
    """Tensors that are added to what a layer without bias makes become its bias."""
    return join(net, _bias)


def fold_batchnorms(net: FlatNet) -> FlatNet:
    """Batchnorms right behind a layer become part of its weights, computed in double precision."""
    return join(net, _batchnorm)


def skip_identities(net: FlatNet) -> FlatNet:
    """Without stages that pass on what they read."""
    moved: dict[str | float, str | float] = {}
    shapes = shapes_of(net)
    kept = []
    for stage in net.stages:
        stage = replace(stage, operands=tuple(moved.get(each, each) for each in stage.operands))
        if stage.operands and isinstance(stage.operands[0], str) and _passes(stage, shapes):
            moved[stage.name] = stage.operands[0]
        else:
            kept.append(stage)
    outputs = tuple((name, str(moved.get(value, value))) for name, value in net.outputs)
    return replace(net, stages=tuple(kept), outputs=outputs)


def _passes(stage: Stage, shapes: Mapping[str, Shape]) -> bool:
    """Whether the result is the first operand."""
    if stage.op == "slice":
        shape = shapes[str(stage.operands[0])]
        places = Slice.make(stage.attributes).positions(shape)
        return all(map(np.array_equal, places, map(range, shape)))
    return stage.op in ("id", "dropout")


def settle_slices(net: FlatNet) -> FlatNet:
    """One way to say the same slice: axes that are cut, and ends where they are no extent."""
    shapes = shapes_of(net)
    stages = []
    for stage in net.stages:
        if stage.op == "slice":
            shape = shapes[str(stage.operands[0])]
            taken = Slice.make(stage.attributes).positions(shape)
            stage = replace(stage, attributes=_slice(taken, shape))
        stages.append(stage)
    return replace(net, stages=tuple(stages))


def _slice(taken: Sequence[range], shape: Shape) -> Mapping[str, Value]:
    cut = [axis for axis, places in enumerate(taken) if places != range(shape[axis])]
    values: dict[str, list[Value]] = {name: [] for name in ("axis", "begin", "end", "step")}
    for axis in cut:
        places, extent = taken[axis], shape[axis]
        step = places.step if len(places) > 1 else 1
        begin, end = places[0], places[-1] + (1 if step > 0 else -1)
        values["axis"].append(axis)
        values["step"].append(step)
        values["begin"].append(
            Symbol("open") if begin == (0 if step > 0 else extent - 1) else begin
        )
        values["end"].append(end if 0 <= end < extent else Symbol("open"))
    return {
        name: each[0]
        if all(value == each[0] for value in each[1:]) and name != "axis"
        else tuple(each)
        for name, each in values.items()
    }


def join_products(net: FlatNet) -> FlatNet:
    """Products of products as one, from the left as `mul` computes them."""

    def attempt(
        stage: Stage, before: Mapping[str, Stage], arrays: Mapping[str, Array]
    ) -> Change | None:
        first = before.get(str(stage.operands[0])) if stage.operands else None
        if stage.op != "mul" or first is None or first.op != "mul":
            return None
        if first.name in stage.operands[1:]:  # a square: what it reads twice has to stay
            return None
        return replace(first, operands=(*first.operands, *stage.operands[1:])), {}

    return join(net, attempt)


def find_silus(net: FlatNet) -> FlatNet:
    """`silu` for x * sigmoid(x), which is how ONNX has it."""
    known = {stage.name: stage for stage in net.stages}
    stages = []
    for stage in net.stages:
        for x, other in (stage.operands, stage.operands[::-1]) if len(stage.operands) == 2 else ():
            gate = known.get(str(other))
            if stage.op == "mul" and gate and gate.op == "sigmoid" and gate.operands == (x,):
                stage = replace(
                    stage, op="silu", attributes={}, operands=(x,), source=sources(gate, stage)
                )
                break
        stages.append(stage)
    return replace(net, stages=tuple(stages))


def settle_pads(net: FlatNet) -> FlatNet:
    """One way to say the same padding: numbers where both ends are alike, else a rule's name."""
    shapes = shapes_of(net)
    stages = []
    for stage in net.stages:
        kind = find(stage.op)
        if (
            "pad" in stage.attributes
            and kind is not None
            and issubclass(kind, Conv | Pool | Unshared)
        ):
            x = TensorType.plain(shapes[str(stage.operands[0])])
            stage = replace(stage, attributes=_settled(kind.make(stage.attributes), x))
        stages.append(stage)
    return replace(net, stages=tuple(stages))


def _settled(op: Conv | Pool | Unshared, x: TensorType) -> Mapping[str, Value]:
    values = {each.name: each.kind.unparse(getattr(op, each.name)) for each in op.attributes()}
    if isinstance(op, Pool) and not op.size:
        return values
    window = op.window(x)
    if all(before == after for before, after in window.pads):
        values["pad"] = tuple(before for before, _ in window.pads)
    else:
        for rule in ("same", "same_lower", "causal"):
            if replace(op, pad=Padding(rule)).window(x) == window:
                values["pad"] = Symbol(rule)
                break
        else:
            values["pad"] = window.pads
    return values


def _bias(stage: Stage, before: Mapping[str, Stage], arrays: Mapping[str, Array]) -> Change | None:
    if stage.op != "add" or len(stage.operands) != 2:
        return None
    made = [before.get(str(name)) for name in stage.operands]
    tensor = next((each for each in made if each is not None and each.op == "tensor"), None)
    layer = next((each for each in made if each is not None and each.op in LAYERS), None)
    if tensor is None or layer is None or layer.attributes.get("bias", True):
        return None
    shape, array = layer.result.shape, arrays[tensor.parameters[""]]
    aligned = (1,) * (len(shape) - array.ndim) + array.shape
    if aligned != tuple(extent if axis == 1 else 1 for axis, extent in enumerate(shape)):
        return None
    key = free_key(f"{layer.name}.bias", arrays)
    made_layer = replace(
        layer,
        attributes={**layer.attributes, "bias": True},
        parameters={**layer.parameters, "bias": key},
    )
    return made_layer, {key: array.reshape(-1)}


def _batchnorm(
    stage: Stage, before: Mapping[str, Stage], arrays: Mapping[str, Array]
) -> Change | None:
    layer = before.get(str(stage.operands[0])) if stage.operands else None
    if stage.op != "batchnorm" or layer is None or layer.op not in LAYERS:
        return None
    if layer.op == "conv_transpose" and layer.attributes.get("groups", 1) != 1:
        return None
    own = {name: arrays[key].astype(np.float64) for name, key in stage.parameters.items()}
    eps = stage.attributes.get("eps", 1e-5)
    assert isinstance(eps, int | float)
    scale = own["weight"] / np.sqrt(own["var"] + eps)
    kind = stage.result.dtype.numpy
    weight = arrays[layer.parameters["weight"]].astype(np.float64)
    axis = 1 if layer.op == "conv_transpose" else 0
    spread = scale.reshape([-1 if place == axis else 1 for place in range(weight.ndim)])
    key = layer.parameters.get("bias")
    bias = np.zeros(1) if key is None else arrays[key].astype(np.float64)
    found = {
        "weight": (weight * spread).astype(kind),
        "bias": (own["bias"] + (bias - own["mean"]) * scale).astype(kind),
    }
    keys = {name: free_key(f"{layer.name}.{name}", arrays) for name in found}
    made = replace(layer, attributes={**layer.attributes, "bias": True}, parameters=keys)
    return made, {keys[name]: value for name, value in found.items()}


STEPS = (
    *(
        skip_identities,
        find_blocks,
        move_layouts,
        find_upsampling,
        find_preprocessing,
        find_global_pools,
    ),
    *(join_pads, join_biases, fold_factors, find_batchnorms, find_silus, find_gelus, join_products),
    *(put_in_order, settle_pads, settle_slices),
)
"""In this order: silus are products, too, and what is folded into a layer is no batchnorm."""
CHANGING = frozenset(
    {move_layouts, find_upsampling, find_preprocessing, fold_factors, find_batchnorms}
)
"""Steps that turn, scale or use up arrays."""
