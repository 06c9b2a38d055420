"""Choose how every tensor lies in a GPU's memory."""

from dataclasses import replace
from math import prod

from cnnc.base.layout import Layout
from cnnc.ir.graph import Graph, Node
from cnnc.ir.types import TensorType
from cnnc.offers.offer import root_of
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.repack import Repack
from cnnc.ops.reshape import Reshape
from cnnc.ops.spec import FEW_CHANNELS, Operator


def lay_channels_last(graph: Graph) -> Graph:
    """conv(x) -> relu -> conv  →  all channels of a position next to each other

    Threads next to each other then read and write neighbours, and a sum over channels reads them in
    pieces of 16 bytes. Where a `reshape` counts channels by several axes, all of these are last, so
    that no element moves. Network inputs and outputs stay row-major: an input of many channels that
    is multiplied is copied first, and an output that was summed afterwards.
    """
    positions = _positions(graph)
    copies: dict[Node, Node] = {}
    new: dict[Node, Node] = {}

    def fit(operand: Node, reader: Node) -> Node:
        """A network's input as its reader wants it."""
        kind = operand.type
        few = _has_one_order(kind) or kind.channels <= FEW_CHANNELS
        if operand not in graph.inputs or few or not _sums(reader):
            return operand
        if operand not in copies:
            last = Layout.channels_last(kind.rank)
            copies[operand] = _copy(operand, last, f"{operand.name}.{last}")
        return copies[operand]

    for node in graph.nodes:
        if node.is_leaf:
            new[node] = node
            continue
        operands = tuple(fit(new[operand], node) for operand in node.inputs)
        layout = Layout.channels_last(node.type.rank, positions[node])
        alone = not graph.users[node] and not _sums(node)
        if node in graph.output_nodes and (alone or _has_one_order(node.type)):
            layout = Layout.plain(node.type.rank)
        new[node] = replace(node, inputs=operands, type=node.type.with_layout(layout))
    outputs: dict[str, Node] = {}
    for name, node in graph.outputs.items():
        found = new[node]
        plain = Layout.plain(found.type.rank)
        if found.type.layout != plain or found.is_leaf or found in outputs.values():
            found = _copy(found, plain, f"{found.name}.out{len(outputs)}")
        outputs[name] = found
    return replace(graph, outputs=outputs)


def _positions(graph: Graph) -> dict[Node, int]:
    """How many axes of each tensor count positions: those behind the batch and the channels.

    Rows and columns stay the last axes while a `reshape` takes channels apart and a `transpose`
    puts them in another order.
    """
    found: dict[Node, int] = {}
    for node in graph.nodes:
        found[node] = max(0, node.type.rank - 2)
        if not isinstance(node.op, Reshape | Transpose):
            continue
        x = node.inputs[0]
        count, rank = found[x], x.type.rank
        spatial, batch = x.type.shape[rank - count :], x.type.shape[0]
        shape = node.type.shape
        stays = shape[0] == batch and shape[len(shape) - count :] == spatial and len(shape) > count
        if isinstance(node.op, Transpose):
            axes = node.op.order
            stays = axes[0] == 0 and tuple(axes[rank - count :]) == tuple(range(rank - count, rank))
        if stays and count:
            found[node] = count
    return found


def _has_one_order(kind: TensorType) -> bool:
    """Whether channels last or first are the same in memory."""
    return kind.rank < 3 or kind.channels == 1 or prod(kind.spatial) == 1


def _sums(node: Node) -> bool:
    """Whether a node multiplies and sums, so that there may be a kernel for channels last."""
    root, operands = root_of(node)
    assert isinstance(root, Operator)
    return root.macs(node.type, *(operand.type for operand in operands)) > 0


def _copy(node: Node, layout: Layout, name: str) -> Node:
    return Node(Repack(), (node,), node.type.with_layout(layout), name, node.span)
