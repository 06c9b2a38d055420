"""Operators that move elements, and reductions."""

from collections.abc import Sequence
from operator import getitem

import torch
from torch import fx
from torch.nn import functional

from cnnc.ir.graph import Node
from cnnc.ops.axes import resolve_axes
from cnnc.ops.concat import Concat
from cnnc.ops.flatten import Flatten
from cnnc.ops.movement.pad import Pad
from cnnc.ops.movement.resize import Resize
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.reductions.reduce import Reduce
from cnnc.ops.reshape import Reshape
from peers.to_torch.builder import Builder, build, operand_type
from peers.unsupported import UnsupportedError

REDUCTIONS = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
    "l1": lambda x, axes, keepdim: torch.linalg.vector_norm(x, 1, axes, keepdim),
    "l2": lambda x, axes, keepdim: torch.linalg.vector_norm(x, 2, axes, keepdim),
}
PADS = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
INTERPOLATIONS = {
    "linear": ("linear", "bilinear", "trilinear"),
    "cubic": (None, "bicubic", None),
    "nearest": ("nearest-exact",) * 3,
}


@build.register
def _concat(op: Concat, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(torch.cat, list(inputs), op.axis)


@build.register
def _flatten(op: Flatten, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(torch.flatten, inputs[0], 1)


@build.register
def _reshape(op: Reshape, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(torch.reshape, inputs[0], node.type.shape)


@build.register
def _transpose(op: Transpose, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(torch.permute, inputs[0], op.order)


@build.register
def _slice(op: Slice, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    x, shape = inputs[0], operand_type(node).shape
    taken = op.positions(shape)
    for axis, places in enumerate(taken):
        if places.step < 0:
            x = builder.call(torch.flip, x, [axis])
            last = shape[axis] - 1
            taken[axis] = range(last - places[0], last - places[-1] + 1, -places.step)
    cuts = tuple(slice(places[0], places[-1] + 1, places.step) for places in taken)
    return builder.call(getitem, x, cuts)


@build.register
def _pad(op: Pad, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    amounts = [end for ends in reversed(op.ends(operand_type(node))) for end in ends]
    more = {"value": op.mode.value} if op.mode.name == "constant" else {}
    return builder.call(functional.pad, inputs[0], amounts, mode=PADS[op.mode.name], **more)


@build.register
def _resize(op: Resize, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    x, rank = operand_type(node), len(node.type.spatial)
    mode = INTERPOLATIONS[op.mode][rank - 1] if rank <= 3 else None
    whole = all(m % n == 0 for n, m in zip(x.spatial, node.type.spatial, strict=True))
    corners = op.coordinates == "align_corners"
    known = op.coordinates in ("half_pixel", "pytorch_half_pixel") or (
        corners and op.mode != "nearest"
    )
    usual = op.coefficient == -0.75 and not op.exclude_outside
    if mode is None or not (whole and known and usual):
        raise UnsupportedError.operator(node, "the PyTorch module")
    more = {} if op.mode == "nearest" else {"align_corners": corners}
    return builder.call(
        functional.interpolate, inputs[0], size=node.type.spatial, mode=mode, **more
    )


@build.register
def _reduce(op: Reduce, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    axes = resolve_axes(op.axes, operand_type(node).rank)
    return builder.call(REDUCTIONS[op.kind.name], inputs[0], axes, keepdim=op.keep)
