"""Means and largest elements of whole maps as global pooling."""

from collections.abc import Mapping
from dataclasses import replace

from cnnc.onnx.flat import FlatNet, Tensor
from cnnc.onnx.tidying.edits import shapes_of
from cnnc.ops.attributes import Symbol, Value
from cnnc.ops.axes import resolve_axes

KINDS: Mapping[Value | None, str] = {Symbol("mean"): "avg", Symbol("max"): "max"}


def find_global_pools(net: FlatNet) -> FlatNet:
    """`pool(avg, global)` and `flatten` for `reduce(mean, …)` along all spatial axes."""
    shapes = shapes_of(net)
    names = {*shapes}
    stages = []
    for stage in net.stages:
        kind = KINDS.get(stage.attributes.get("kind")) if stage.op == "reduce" else None
        shape = shapes[str(stage.operands[0])] if kind else ()
        given = stage.attributes.get("axes")
        listed = given if isinstance(given, tuple) else (given,)
        axes = tuple(axis for axis in listed if isinstance(axis, int))
        if len(shape) < 3 or resolve_axes(axes, len(shape)) != (*range(2, len(shape)),):
            stages.append(stage)
            continue
        pooled = {"kind": Symbol(str(kind)), "size": Symbol("global")}
        if stage.attributes.get("keep", False):
            stages.append(replace(stage, op="pool", attributes=pooled))
            continue
        name = f"{stage.name}.pool"
        while name in names:
            name += "_"
        names.add(name)
        result = Tensor(name, stage.result.dtype, (*shape[:2], *(1,) * (len(shape) - 2)))
        stages.append(replace(stage, name=name, op="pool", attributes=pooled, result=result))
        stages.append(replace(stage, op="flatten", attributes={}, operands=(name,)))
    return replace(net, stages=tuple(stages))
