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

MOST_GROUPS = 4
"""Groups of a shuffle that is copied in blocks: vectors take lanes from one vector of each."""


def shuffle_channels(graph: Graph) -> Graph:
    """reshape(transpose(reshape(concat(a, b))))  →  channel_shuffle(a, b): channels take turns

    Where all who read it take slices of its channels, each becomes a shuffle that makes no others.
    Where the operands of the concat are not the groups, or there is none, it reads the whole. What
    leaves all channels in their places goes; more than MOST_GROUPS groups stay a transposition.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, graph: Graph) -> Node | None:
    match node.op:
        case Reshape():
            return _shuffled(node)
        case Slice() if _is_cut(node.inputs[0], graph):
            return _cut(node)
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
    if 1 in (groups, shape[2]):
        return x
    if groups > MOST_GROUPS:
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


def _is_cut(x: Node, graph: Graph) -> bool:
    """Whether a shuffle is not needed as a whole."""
    if not isinstance(x.op, ChannelShuffle) or x in graph.output_nodes:
        return False
    return all(_channels(reader) is not None for reader in graph.users[x])


def _channels(node: Node) -> range | None:
    """Neighbouring channels that a slice takes of its operand; None if it takes less, or others."""
    if not isinstance(node.op, Slice):
        return None
    shape = node.inputs[0].type.shape
    batch, channels, *spatial = node.op.positions(shape)
    whole = [batch, *spatial] == [range(extent) for extent in (shape[0], *shape[2:])]
    return channels if whole and channels.step == 1 else None


def _cut(node: Node) -> Node:
    """The shuffle of the channels that a slice takes."""
    (x,), channels = node.inputs, _channels(node)
    assert isinstance(x.op, ChannelShuffle)
    assert channels is not None
    op = replace(x.op, begin=x.op.begin + channels.start, channels=len(channels))
    return replace(node, op=op, inputs=x.inputs)
