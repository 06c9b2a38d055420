"""Zeros that are put around what a convolution reads, as its own padding."""

from dataclasses import replace

from cnnc.ir.types import TensorType
from cnnc.onnx.flat import FlatNet, Stage
from cnnc.onnx.tidying.edits import put_in_order, readers_of, shapes_of, sources
from cnnc.ops.attributes import Value
from cnnc.ops.conv import Conv
from cnnc.ops.movement.pad import Mode, Pad


def join_pads(net: FlatNet) -> FlatNet:
    """Convolutions that pad for themselves."""
    shapes, readers = shapes_of(net), readers_of(net)
    outputs = {value for _, value in net.outputs}
    before = {stage.name: stage for stage in net.stages}
    stages = []
    for stage in net.stages:
        first = before.get(str(stage.operands[0])) if stage.op == "conv" else None
        is_alone = first is not None and len(readers[first.name]) == 1
        if first is None or first.op != "pad" or not is_alone or first.name in outputs:
            stages.append(stage)
            continue
        shape = shapes[str(first.operands[0])]
        stages.append(_joined(stage, first, TensorType.plain(shape)) or stage)
    return put_in_order(replace(net, stages=tuple(stages)))


def _joined(stage: Stage, first: Stage, x: TensorType) -> Stage | None:
    pad = Pad.make(first.attributes)
    if pad.mode != Mode("constant", 0.0):
        return None
    own = Conv.make(stage.attributes).window(TensorType.plain(first.result.shape)).pads
    pads: tuple[Value, ...] = tuple(
        (low + before, high + after)
        for (low, high), (before, after) in zip(own, pad.ends(x), strict=True)
    )
    return replace(
        stage, attributes={**stage.attributes, "pad": pads}, operands=first.operands,
        source=sources(first, stage),
    )  # fmt: skip
