"""Computes at compile time what no input can change."""

from dataclasses import replace

import numpy as np

from cnnc.ir.evaluate import round_to, widen
from cnnc.ir.graph import Constant, Graph, Node, Real
from cnnc.ir.rewrite import substitute

LARGEST = 2**22
"""Elements of the largest constant that is made."""


def fold_constants(graph: Graph) -> Graph:
    """op(constant, …)  →  constant

    Whole subgraphs are computed in float64 by the operators' references and rounded once.
    """
    known = _known(graph)
    kept = graph.output_nodes | {
        operand for node in graph.nodes if node not in known for operand in node.inputs
    }
    values: dict[Node, Real] = {}
    made = {
        node: _constant(node, _value(node, values))
        for node in graph.nodes
        if node in known and not node.is_leaf and node in kept
    }
    return substitute(graph, made)


def _known(graph: Graph) -> set[Node]:
    """Every node that depends on constants only."""
    known: set[Node] = set()
    for node in graph.nodes:
        small = node.inputs and node.type.elements <= LARGEST
        if node.is_constant or (small and known.issuperset(node.inputs)):
            known.add(node)
    return known


def _value(node: Node, values: dict[Node, Real]) -> Real:
    """The value of a known node; those of all it depends on are kept, too."""
    stack = [node]
    while stack:
        last = stack[-1]
        missing = [operand for operand in last.inputs if operand not in values]
        if missing:
            stack += missing
            continue
        stack.pop()
        if last.constant is not None:
            values[last] = widen(last.constant)
        elif last not in values:
            # Infinities and NaN are values here; what an operator makes of them is its definition.
            with np.errstate(all="ignore"):
                values[last] = last.op.reference(*(values[operand] for operand in last.inputs))
    return values[node]


def _constant(node: Node, value: Real) -> Node:
    return replace(node, op=Constant(round_to(value, node.type.dtype)), inputs=())
