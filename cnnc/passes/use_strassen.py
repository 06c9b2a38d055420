"""Convolutions of single positions that Strassen's algorithm computes faster."""

from dataclasses import replace

from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.rewrite import fresh_name, rewrite
from cnnc.offers.offer import chosen_for, root_of
from cnnc.offers.shares import sharing_target
from cnnc.offers.strassen import OFFER, choose_strassen, read_choice
from cnnc.ops.fused import Fused
from cnnc.ops.strassen import Strassen
from cnnc.passes._combined import Combined


def use_strassen(graph: Graph, target: Target, choices: Choices = ESTIMATED) -> Graph:
    """conv(x, w), one tap  →  strassen(x, sums of w), where that is faster.

    It is where it was chosen, or else by estimate. Weights are summed in float64 and rounded once.
    UserError for a choice that is not possible.
    """
    shared = sharing_target(graph, target)

    def rule(node: Node, graph: Graph) -> Node | None:
        made = None if node.is_leaf else _choose(node, shared, choices)
        return _with_root(node, made, graph) if made else None

    return rewrite(graph, rule)


def _choose(node: Node, target: Target, choices: Choices) -> Strassen | None:
    chosen = chosen_for(node, choices)
    if chosen is None:
        return choose_strassen(node, target)
    root, _ = root_of(node)
    if chosen.choice.algorithm != OFFER.name or isinstance(root, Strassen):
        return None
    return read_choice(chosen, node, target)


def _with_root(node: Node, made: Strassen, graph: Graph) -> Node:
    """The node with another operator that does its work, and weights for it."""
    x, old, *rest = node.inputs
    assert isinstance(old.op, Constant)
    kind = made.parameters(x.type)[0].type
    name = old.name if graph.is_private(old) else fresh_name(graph, f"{node.name}.weight")
    new = Node(Constant(Combined(old.op, kind)), (), kind, name, node.span)
    op = replace(node.op, root=made) if isinstance(node.op, Fused) else made
    return replace(node, op=op, inputs=(x, new, *rest))
