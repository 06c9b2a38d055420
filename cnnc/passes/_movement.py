"""Recognises movements that move nothing, and those that the operator behind them can do."""

from dataclasses import replace
from math import copysign

from cnnc.ir.graph import Node
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.movement.depth_to_space import DepthToSpace
from cnnc.ops.movement.pad import Mode, Pad
from cnnc.ops.movement.resize import Resize
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.space_to_depth import SpaceToDepth
from cnnc.ops.movement.transpose import Transpose


def moved_once(node: Node) -> Node | None:
    """The operand of what leaves every element in its place; one transposition for two."""
    op, source = node.op, node.inputs[0]
    if not _moves(node):
        return source
    if isinstance(op, Transpose) and isinstance(source.op, Transpose):
        order = tuple(source.op.order[axis] for axis in op.order)
        return replace(node, op=Transpose(order), inputs=source.inputs)
    return None


def _moves(node: Node) -> bool:
    """Whether a movement moves anything."""
    x = node.inputs[0].type
    match node.op:
        case Slice() as op:
            return op.positions(x.shape) != [range(extent) for extent in x.shape]
        case Transpose(order=order):
            return list(order) != sorted(order)
        case Pad() as op:
            return any(map(any, op.ends(x)))
        case Resize() as op:
            return not all(each.line.is_identity for each in op.samplings(x))
        case DepthToSpace() | SpaceToDepth():
            return node.type != x
    return True


def padded_once(node: Node, op: Conv) -> Node | None:
    """The convolution that pads its input itself, where it reads one that is padded with zeros."""
    match node.inputs[0].op:
        case Pad(mode=Mode("constant", value)) as pad if value == 0 and copysign(1, value) > 0:
            pass
        case _:
            return None
    x = node.inputs[0].inputs[0]
    outer, inner = pad.ends(x.type), op.window(node.inputs[0].type).pads
    both = tuple((a + c, b + d) for (a, b), (c, d) in zip(outer, inner, strict=True))
    return replace(
        node, op=replace(op, pad=Padding("explicit", both)), inputs=(x, *node.inputs[1:])
    )
