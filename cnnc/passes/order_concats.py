"""Concats in an order that leaves their operands in blocks."""

from collections.abc import Mapping, Set
from dataclasses import replace
from itertools import accumulate

import numpy as np

from cnnc.base.layout import Layout
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.rewrite import fresh_name, substitute
from cnnc.offers.offer import root_of
from cnnc.ops.concat import Concat
from cnnc.ops.spec import FEW_CHANNELS, Operator
from cnnc.passes._blocks import expected_blocks, own_block, rows_of
from cnnc.passes._reordered import Reordered


def order_concats(graph: Graph, target: Target) -> Graph:
    """conv(concat(a, b), w)  →  conv(concat(b, a), w for that order), where a fills no whole blocks

    Behind a part of a block no other operand can begin, so that all would have to lie row-major,
    and be copied there and back. At the end it does not matter. Whoever reads the concat must sum
    over all its channels, so that their order is that of its weights; and by estimate fewer bytes
    are copied than before.
    """
    orders = {node: order for node in graph.nodes if (order := _order(node, target))}
    if not orders:
        return graph
    blocks, rows = expected_blocks(graph, target), rows_of(graph, target)
    replacements: dict[Node, Node] = {}
    for node, order in orders.items():
        gain = _copied_in_rows(node, blocks, rows) - _copied_in_blocks(node, blocks, target)
        if gain > 0 and _is_free(graph, node):
            operands = tuple(node.inputs[place] for place in order)
            replacements[node] = replace(node, inputs=operands)
            replacements |= _readers(graph, node, order)
    return substitute(graph, replacements)


def _order(node: Node, target: Target) -> tuple[int, ...]:
    """The places of a concat's operands with the one at the end that fills no whole blocks.

    Empty where that changes nothing or does not help.
    """
    if not isinstance(node.op, Operator) or node.type.rank < 2:
        return ()
    root, operands = root_of(node)
    if not isinstance(root, Concat) or len(operands) < len(node.inputs):
        return ()
    kinds = [operand.type for operand in operands]
    block = own_block(node.type, target)
    if root.blocking(block, *kinds).writes > 1:
        return ()
    most = max(own_block(kind, target) for kind in kinds)
    order = sorted(range(len(kinds)), key=lambda place: kinds[place].channels % most > 0)
    helps = root.blocking(block, *(kinds[place] for place in order)).writes > 1
    return tuple(order) if helps else ()


def _is_free(graph: Graph, node: Node) -> bool:
    """Whether all who read the concat sum over its channels, with weights that are known."""
    readers = graph.users[node]
    return node not in graph.output_nodes and all(
        isinstance(reader.op, Operator)
        and root_of(reader)[0].sums_channels
        and reader.inputs[0] is node
        and reader.inputs.count(node) == 1
        and reader.inputs[1].is_constant
        for reader in readers
    )


def _copied_in_blocks(node: Node, blocks: Mapping[Node, int], target: Target) -> int:
    """Bytes of the operands that lie in rows, as they lie in blocks."""
    most = max(own_block(operand.type, target) for operand in node.inputs)
    filled = Layout.blocked(node.type.rank, 1, most)
    rows = (operand.type for operand in node.inputs if blocks[operand] == 1)
    return sum(kind.with_layout(filled).bytes for kind in rows)


def _copied_in_rows(node: Node, blocks: Mapping[Node, int], rows: Set[Node]) -> int:
    """Bytes of the operands that lie in blocks, and of the concat itself for those who read it."""
    operands = sum(operand.type.bytes for operand in node.inputs if blocks[operand] > 1)
    copied = node not in rows and node.type.channels > FEW_CHANNELS
    return operands + node.type.bytes * copied


def _readers(graph: Graph, node: Node, order: tuple[int, ...]) -> dict[Node, Node]:
    """The readers of a concat with weights for its new order."""
    starts = [0, *accumulate(operand.type.channels for operand in node.inputs)]
    channels = np.concatenate([np.arange(starts[at], starts[at + 1]) for at in order])
    weights: dict[Node, Node] = {}
    readers: dict[Node, Node] = {}
    for reader in dict.fromkeys(graph.users[node]):
        old = reader.inputs[1]
        if old not in weights:
            assert isinstance(old.op, Constant)
            value = Constant(Reordered(old.op, channels, old.type))
            name = old.name if graph.is_private(old) else fresh_name(graph, f"{reader.name}.weight")
            weights[old] = replace(old, op=value, name=name)
        readers[reader] = replace(
            reader, inputs=(reader.inputs[0], weights[old], *reader.inputs[2:])
        )
    return readers
