"""Channels that become positions, and back, as exporters write them with reshapes."""

from dataclasses import replace
from math import prod

import numpy as np

from cnnc.base.layout import Shape
from cnnc.onnx.flat import FlatNet, Stage
from cnnc.onnx.tidying.edits import put_in_order, shapes_of
from cnnc.ops.attributes import Symbol, Value
from cnnc.ops.movement.blocks import MODES
from cnnc.ops.movement.depth_to_space import DepthToSpace
from cnnc.ops.movement.space_to_depth import SpaceToDepth

LARGEST = 2**24
"""Elements of a sample up to which it is tried where each of them goes."""


def find_blocks(net: FlatNet) -> FlatNet:
    """`depth_to_space` or `space_to_depth` for a reshape, a transposition and a reshape."""
    known, shapes = {stage.name: stage for stage in net.stages}, shapes_of(net)
    stages = []
    for stage in net.stages:
        turn = known.get(str(stage.operands[0])) if stage.op == "reshape" else None
        split = known.get(str(turn.operands[0])) if turn and turn.op == "transpose" else None
        if turn is not None and split is not None and split.op == "reshape":
            x = str(split.operands[0])
            found = _block(shapes[x], split, turn, stage.result.shape)
            if found is not None:
                source = ", ".join(each.source for each in (split, turn, stage))
                op, shown = found
                stage = replace(stage, op=op, attributes=shown, operands=(x,), source=source)
        stages.append(stage)
    return put_in_order(replace(net, stages=tuple(stages)))


def _block(
    shape: Shape, split: Stage, turn: Stage, out: Shape
) -> tuple[str, dict[str, Value]] | None:
    """The operator that moves every element of a sample to the same place; None if none does."""
    order, parts = turn.attributes["order"], split.result.shape
    if not isinstance(order, tuple) or order[0] != 0 or {shape[0]} != {parts[0], out[0]}:
        return None
    if len(shape) != len(out) or len(shape) < 3 or prod(shape[1:]) > LARGEST:
        return None
    is_depth = out[1] < shape[1]
    pairs = zip(*((out, shape) if is_depth else (shape, out)), strict=True)
    ratios = [divmod(one, two) for one, two in [*pairs][2:]]
    if any(rest or not whole for whole, rest in ratios):
        return None
    block = tuple(whole for whole, _ in ratios)
    places = np.arange(prod(shape[1:]), dtype=np.float64).reshape(1, *shape[1:])
    axes = [int(str(each)) for each in order]
    moved = places.reshape(1, *parts[1:]).transpose(axes).reshape(1, *out[1:])
    channels = (shape if is_depth else out)[1]
    if channels % prod(block) or prod(block) == 1:
        return None
    for mode in MODES:
        op = DepthToSpace(block, mode) if is_depth else SpaceToDepth(block, mode)
        if np.array_equal(op.reference(places), moved):
            size: Value = block[0] if len({*block}) == 1 else block
            return op.name, {"block": size, "mode": Symbol(mode)}
    return None
