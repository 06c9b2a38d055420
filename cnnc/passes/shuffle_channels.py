"""Channel shuffles that are written as reshaping and transposition."""

from dataclasses import replace

from cnnc.ir.graph import Graph, Node
from cnnc.ir.rewrite import rewrite
from cnnc.ops.axes import resolve_axis
from cnnc.ops.concat import Concat
from cnnc.ops.movement.channel_shuffle import ChannelShuffle
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.reshape import Reshape


def shuffle_channels(graph: Graph) -> Graph:
    """reshape(transpose(reshape(concat(a, b))))  →  channel_shuffle(a, b): channels take turns

    A slice of its channels becomes a shuffle that makes no others. Where the operands of the concat
    are not the groups, or there is none, the shuffle reads the whole.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, graph: Graph) -> Node | None:
    match node.op:
        case Reshape():
            return _shuffled(node)
        case Slice() as op if isinstance(node.inputs[0].op, ChannelShuffle):
            return _cut(node, op, node.inputs[0].op)
    return None


def _shuffled(node: Node) -> Node | None:
    """The shuffle that ends with a reshape to the shape that its channels had."""
    (turned,) = node.inputs
    if not isinstance(turned.op, Transpose):
        return None
    (split,) = turned.inputs
    if not isinstance(split.op, Reshape) or turned.op.order[:3] != (0, 2, 1):
        return None
    (x,), shape = split.inputs, split.type.shape
    keeps = list(turned.op.order[3:]) == list(range(3, len(shape)))
    if not keeps or x.type != node.type or x.type.rank < 3 or len(shape) < 3:
        return None
    groups = shape[1]
    if shape[0] != x.type.shape[0] or groups * shape[2] != x.type.channels:
        return None
    shuffle = ChannelShuffle(groups, 0, x.type.channels)
    return replace(node, op=shuffle, inputs=_groups(x, groups))


def _groups(x: Node, groups: int) -> tuple[Node, ...]:
    """Operands of the concat that makes the groups, or the whole."""
    if not isinstance(x.op, Concat) or resolve_axis(x.op.axis, x.type.rank) != 1:
        return (x,)
    each = x.type.channels // groups
    whole = len(x.inputs) == groups and all(part.type.channels == each for part in x.inputs)
    return x.inputs if whole else (x,)


def _cut(node: Node, op: Slice, shuffle: ChannelShuffle) -> Node | None:
    """The shuffle of the channels that a slice takes, where it takes neighbours and all else."""
    x = node.inputs[0]
    batch, channels, *spatial = op.positions(x.type.shape)
    rest = [batch, *spatial] == [range(extent) for extent in (x.type.shape[0], *x.type.spatial)]
    if not rest or channels.step != 1:
        return None
    begin = shuffle.begin + channels.start
    return replace(node, op=replace(shuffle, begin=begin, channels=len(channels)), inputs=x.inputs)
