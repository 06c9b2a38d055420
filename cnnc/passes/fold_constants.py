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
    known = _known_values(graph)
    kept = graph.output_nodes | {
        operand for node in graph.nodes if node not in known for operand in node.inputs
    }
    made = {
        node: _constant(node, value)
        for node, value in known.items()
        if not node.is_leaf and node in kept
    }
    return substitute(graph, made)


def _known_values(graph: Graph) -> dict[Node, Real]:
    """The value of every node that depends on constants only."""
    known: dict[Node, Real] = {}
    for node in graph.nodes:
        if node.constant is not None:
            known[node] = widen(node.constant)
        elif node.inputs and node.type.elements <= LARGEST and known.keys() >= set(node.inputs):
            operands = (known[operand] for operand in node.inputs)
            # Infinities and NaN are values here; what an operator makes of them is its definition.
            with np.errstate(all="ignore"):
                known[node] = node.op.reference(*operands)
    return known


def _constant(node: Node, value: Real) -> Node:
    return replace(node, op=Constant(round_to(value, node.type.dtype)), inputs=())
