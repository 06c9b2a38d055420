"""How passes change a graph."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain, count

from cnnc.ir.graph import Graph, Node

Rule = Callable[[Node, Graph], Node | None]
"""An equal node to stand in for a node of the graph, or None where the rule does not apply."""


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """Apply the rule to all nodes until it applies nowhere; the same graph if it never does.

    The rule sees the graph as it was before the sweep, so `graph.users` and `graph.is_private`
    hold for every node it meets.
    """
    while True:
        found = ((node, rule(node, graph)) for node in graph.nodes)
        replacements = {node: equal for node, equal in found if equal is not None}
        if not replacements:
            return graph
        graph = substitute(graph, replacements)


def substitute(graph: Graph, replacements: Mapping[Node, Node]) -> Graph:
    """The graph with equal nodes in place of some; nodes that nothing changes keep identity.

    A replacement may be another node of the graph, or new nodes over nodes of the graph; only
    earlier nodes of `graph.nodes` may be among them.
    """
    new: dict[Node, Node] = {}

    def settle(node: Node) -> Node:
        if node not in new:
            new[node] = node.with_inputs([settle(operand) for operand in node.inputs])
        return new[node]

    for node in graph.nodes:
        new[node] = settle(replacements.get(node, node))
    if all(new[node] is node for node in graph.nodes):
        return graph
    inputs = tuple(new[node] for node in graph.inputs)
    outputs = {name: new[node] for name, node in graph.outputs.items()}
    return replace(graph, inputs=inputs, outputs=outputs)


def fresh_name(graph: Graph, wanted: str) -> str:
    """The name, with a number after it where a node of the graph already has it."""
    candidates = chain([wanted], (f"{wanted}.{number}" for number in count(1)))
    return next(name for name in candidates if name not in graph.names)
