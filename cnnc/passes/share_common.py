"""Computes equal things once."""

from hashlib import blake2b

import numpy as np

from cnnc.ir.graph import Array, Constant, Graph, Input, Node, Recipe
from cnnc.ir.rewrite import substitute
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.mul import Mul


def share_common(graph: Graph) -> Graph:
    """f(x), f(x)  →  one f(x); equal constants likewise; a + b is b + a, a * b is b * a

    The first of the equal nodes, in the order of `graph.nodes`, gives the name and the span.
    """
    first: dict[tuple[object, ...], Node] = {}
    shared: dict[Node, Node] = {}
    for node in graph.nodes:
        shared[node] = first.setdefault(_key(node, [shared[o] for o in node.inputs]), node)
    return substitute(graph, {node: equal for node, equal in shared.items() if equal is not node})


def _key(node: Node, operands: list[Node]) -> tuple[object, ...]:
    """Equal for two nodes only if their values are: operators compare by their attributes.

    They are compared as text, too: attributes 0.0 and -0.0 are equal and give different values.
    Constants compare by 64 bytes of digest, which stand for megabytes of elements.
    """
    match node.op:
        case Input():
            return (node,)
        case Constant(source):
            return (node.type, _content(source))
    if isinstance(node.op, Add | Mul) and len(operands) == 2:
        # Of more operands the order decides how partial sums are rounded.
        operands = sorted(operands, key=id)
    return (node.op, repr(node.op), node.type, *operands)


def _content(source: Array | Recipe) -> object:
    """Equal for two of the same type only if their elements are."""
    if isinstance(source, np.ndarray | np.generic):
        return blake2b(np.ascontiguousarray(source).data).digest()
    return source.identity
