"""Elements that are repeated, as resizing with the nearest one.

Keras writes for each axis a new one behind it, several copies along that, and a reshape that joins
the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from cnnc.base.layout import Shape
from cnnc.onnx.flat import Array, FlatNet, Stage
from cnnc.onnx.tidying.edits import Change, join, put_in_order, readers_of
from cnnc.onnx.tidying.rewriter import Rewriter
from cnnc.ops.attributes import Symbol, Value

NEAREST = Symbol("nearest")


def find_upsampling(net: FlatNet) -> FlatNet:
    """`resize(nearest, …)` for what repeats the elements of spatial axes."""
    readers = readers_of(net)
    outputs = {value for _, value in net.outputs}
    found = {
        stage.name
        for stage in net.stages
        if stage.op == "concat" and stage.name not in outputs and _joins(stage, readers)
    }
    if not found:
        return net
    build = Rewriter(net)
    moved: dict[str | float, str | float] = {}
    for stage in net.stages:
        operands = tuple(moved.get(each, each) for each in stage.operands)
        stage = replace(stage, operands=operands)
        if stage.name in found:
            moved[stage.name] = _resized(stage, build)
        elif stage.op in ("reshape", "flatten"):
            x = str(operands[0])
            moved[stage.name] = build.reshape(x, stage.result.shape, stage.source, stage.name)
        else:
            build.keep(stage)
    ends = tuple((name, str(moved.get(value, value))) for name, value in net.outputs)
    made = join(put_in_order(replace(build.finish(), outputs=ends)), _both)
    return replace(made, stages=tuple(map(_short, made.stages)))


def _short(stage: Stage) -> Stage:
    """One factor where it is that of all axes."""
    scale = stage.attributes.get("scale")
    if stage.op != "resize" or not isinstance(scale, tuple) or len({*scale}) > 1:
        return stage
    return replace(stage, attributes={**stage.attributes, "scale": scale[0]})


def _joins(stage: Stage, readers: Mapping[str, Sequence[Stage]]) -> bool:
    """Whether copies stand along a new axis, which reshapes then join to the one before."""
    axis, shape = stage.attributes.get("axis", 1), stage.result.shape
    if not isinstance(axis, int) or len({*stage.operands}) > 1 or len(stage.operands) < 2:
        return False
    axis %= len(shape)
    if axis < 3 or shape[axis] != len(stage.operands) or not readers[stage.name]:
        return False
    return all(
        each.op == "reshape" and _is_joined(shape, axis, each.result.shape)
        for each in readers[stage.name]
    )


def _is_joined(shape: Shape, axis: int, target: Shape) -> bool:
    """Whether a reshape to the target makes one axis of this one and the one before."""
    before, both = prod(shape[: axis - 1]), shape[axis - 1] * shape[axis]
    return any(
        extent == both and prod(target[:place]) == before for place, extent in enumerate(target)
    )


def _resized(stage: Stage, build: Rewriter) -> str:
    axis, shape = stage.attributes.get("axis", 1), stage.result.shape
    assert isinstance(axis, int)
    axis %= len(shape)
    held = (*shape[:axis], *shape[axis + 1 :])
    x = build.reshape(str(stage.operands[0]), held, stage.source)
    scale = tuple(shape[axis] if place == axis - 1 else 1 for place in range(2, len(held)))
    shown: dict[str, Value] = {"mode": NEAREST, "scale": scale}
    made = build.call(stage, [x], shown, op="resize")
    return build.reshape(made, shape, stage.source)


def _both(stage: Stage, before: Mapping[str, Stage], arrays: Mapping[str, Array]) -> Change | None:
    """Two axes that are repeated one after the other."""
    first = before.get(str(stage.operands[0])) if stage.operands else None
    if stage.op != "resize" or first is None or first.op != "resize":
        return None
    factors = []
    for each in (first, stage):
        scale = each.attributes.get("scale")
        if {*each.attributes} != {"mode", "scale"} or each.attributes["mode"] != NEAREST:
            return None
        if not isinstance(scale, tuple):
            return None
        factors.append([part for part in scale if isinstance(part, int)])
    one, two = factors
    if len(one) != len(two) or any(a != 1 and b != 1 for a, b in zip(one, two, strict=True)):
        return None
    scale = tuple(a * b for a, b in zip(one, two, strict=True))
    return replace(first, attributes={**first.attributes, "scale": scale}), {}
