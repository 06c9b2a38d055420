"""Layers that are computed together, some rows at a time."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.target import Target
from cnnc.ir.graph import Graph, Node
from cnnc.ir.rewrite import substitute
from cnnc.offers.offer import chosen_for
from cnnc.offers.registry import default_choice
from cnnc.offers.shares import sharing_target
from cnnc.offers.streamed import MOST_STAGES, operands_of, stream
from cnnc.ops.repack import Repack
from cnnc.ops.spec import FEW_CHANNELS, Operator
from cnnc.ops.streamed import Streamed, can_stream

Piece = tuple[Sequence[Node], Streamed]


def stream_rows(graph: Graph, target: Target, choices: Choices = ESTIMATED) -> Graph:
    """conv(depthwise(x))  →  streamed(x): both for some rows, then for the next ones

    Where what lies between them would leave the caches before it is read. Layers for which another
    form was chosen than the estimate's stay alone, as they were measured.
    """
    shared = sharing_target(graph, target)
    pieces = [piece for line in lines(graph, target, choices) for piece in _cut(line, shared)]
    replacements = {nodes[-1]: join(nodes, made) for nodes, made in pieces}
    return substitute(graph, replacements) if replacements else graph


def streaming(
    nodes: Collection[Node], graph: Graph, target: Target, choices: Choices = ESTIMATED
) -> set[Node]:
    """What `stream_rows` would compute together in lines that have one of some nodes."""
    shared = sharing_target(graph, target)
    touched = (line for line in lines(graph, target, choices) if not set(line).isdisjoint(nodes))
    return {node for line in touched for together, _ in _cut(line, shared) for node in together}


def join(nodes: Sequence[Node], made: Streamed) -> Node:
    """One node for several."""
    operands = tuple(operand for own in operands_of(nodes) for operand in own)
    return replace(nodes[-1], op=made, inputs=operands)


def lines(graph: Graph, target: Target, choices: Choices = ESTIMATED) -> list[list[Node]]:
    """Layers one behind the other that nothing else reads, as long as possible."""
    found: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        if not _may_stream(node, target, choices):
            continue
        before = node.inputs[0]
        line = found.pop(before) if before in found and graph.is_private(before) else []
        found[node] = [*line, node]
    return [line for line in found.values() if len(line) > 1]


def _may_stream(node: Node, target: Target, choices: Choices) -> bool:
    op = node.op
    kinds = [operand.type for operand in node.inputs]
    if not isinstance(op, Operator) or node.is_leaf or not can_stream(op, *kinds):
        return False
    if isinstance(op, Repack) and node.type.channels > FEW_CHANNELS:
        return False  # at the edges of a net, where a layer is wanted alone as often as not
    chosen = chosen_for(node, choices)
    return chosen is None or chosen.choice == default_choice(node, target)


def _cut(line: Sequence[Node], target: Target) -> list[Piece]:
    """The pieces of a line that save most together."""
    best: list[tuple[float, list[Piece]]] = [(0.0, [])]
    for end in range(1, len(line) + 1):
        options = [best[end - 1]]
        for start in range(max(0, end - MOST_STAGES), end - 1):
            nodes = line[start:end]
            if (found := stream(nodes, target)) is not None:
                saved, pieces = best[start]
                options.append((saved + found[0], [*pieces, (nodes, found[1])]))
        best.append(max(options, key=lambda option: option[0]))
    return best[-1][1]
