"""Computes equal things once."""

from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.rewrite import substitute
from cnnc.ir.text import digest


def share_common(graph: Graph) -> Graph:
    """f(x), f(x)  →  one f(x); equal constants likewise

    The first of the equal nodes, in the order of `graph.nodes`, gives the name and the span.
    """
    first: dict[tuple[object, ...], Node] = {}
    shared: dict[Node, Node] = {}
    for node in graph.nodes:
        shared[node] = first.setdefault(_key(node, [shared[o] for o in node.inputs]), node)
    return substitute(graph, {node: equal for node, equal in shared.items() if equal is not node})


def _key(node: Node, operands: list[Node]) -> tuple[object, ...]:
    """Equal for two nodes exactly if their values are: operators compare by their attributes."""
    match node.op:
        case Input():
            return (node,)
        case Constant(value):
            return (digest(value), node.type, value.tobytes())
    return (type(node.op), node.op, node.type, *operands)
