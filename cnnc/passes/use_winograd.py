"""Convolutions that Winograd's algorithm computes faster."""

from dataclasses import replace

from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.rewrite import fresh_name, rewrite
from cnnc.ir.types import TensorType
from cnnc.offers.offer import chosen_for
from cnnc.offers.winograd import OFFER, choose_winograd, read_choice, suits
from cnnc.ops.conv import Conv
from cnnc.ops.cook_toom import TAPS
from cnnc.ops.winograd import Winograd
from cnnc.passes._transformed import Transformed


def use_winograd(graph: Graph, target: Target, choices: Choices = ESTIMATED) -> Graph:
    """conv(x, w), 3 taps on each axis  →  winograd(x, transformed w), where that is faster.

    It is where it was chosen, or else by estimate. Weights are transformed in float64 and rounded
    once. UserError for a choice that is not possible.
    """
    return rewrite(graph, lambda node, graph: _rule(node, graph, target, choices))


def _rule(node: Node, graph: Graph, target: Target, choices: Choices) -> Node | None:
    op = node.op
    if not isinstance(op, Conv) or not suits(op, node.inputs, target):
        return None
    made = _choose(op, node, target, choices)
    if made is None:
        return None
    x, old = node.inputs[0].type, node.inputs[1]
    assert isinstance(old.op, Constant)
    points = (made.results + TAPS - 1) ** len(x.spatial)
    kind = TensorType.plain((*old.type.shape[:2], points), node.type.dtype)
    value = Constant(Transformed(old.op, made.results, kind))
    name = old.name if graph.is_private(old) else fresh_name(graph, f"{node.name}.weight")
    new = Node(value, (), kind, name, node.span)
    return replace(node, op=made, inputs=(node.inputs[0], new, *node.inputs[2:]))


def _choose(op: Conv, node: Node, target: Target, choices: Choices) -> Winograd | None:
    chosen = chosen_for(node, choices)
    if chosen is None:
        return choose_winograd(op, node.inputs[0].type, target)
    if chosen.choice.algorithm != OFFER.name:
        return None
    return read_choice(chosen, op, node, target)
