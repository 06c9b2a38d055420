"""Zeros that are put around what a convolution reads, as its own padding."""

from collections.abc import Mapping
from dataclasses import replace

from cnnc.ir.types import TensorType
from cnnc.onnx.flat import Array, FlatNet, Stage
from cnnc.onnx.tidying.edits import Change, join, shapes_of
from cnnc.ops.attributes import Value
from cnnc.ops.conv import Conv
from cnnc.ops.movement.pad import Mode, Pad


def join_pads(net: FlatNet) -> FlatNet:
    """Convolutions that pad for themselves."""
    shapes = shapes_of(net)

    def attempt(
        stage: Stage, before: Mapping[str, Stage], arrays: Mapping[str, Array]
    ) -> Change | None:
        first = before.get(str(stage.operands[0])) if stage.operands else None
        if stage.op != "conv" or first is None or first.op != "pad":
            return None
        pad = Pad.make(first.attributes)
        if pad.mode != Mode("constant", 0.0):
            return None
        op = Conv.make(stage.attributes)
        own = op.window(TensorType.plain(first.result.shape)).pads
        ends = pad.ends(TensorType.plain(shapes[str(first.operands[0])]))
        pads: tuple[Value, ...] = tuple(
            (low + before, high + after)
            for (low, high), (before, after) in zip(own, ends, strict=True)
        )
        made = replace(
            first, op="conv", attributes={**stage.attributes, "pad": pads},
            parameters=stage.parameters,
        )  # fmt: skip
        return made, {}

    return join(net, attempt)
