"""Convolutions that Winograd's algorithm computes faster."""

from collections.abc import Callable
from dataclasses import replace

from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.rewrite import fresh_name, rewrite
from cnnc.offers.offer import chosen_for
from cnnc.offers.shares import sharing_target
from cnnc.offers.winograd import OFFER, are_transformed_far, choose_winograd, read_choice, suits
from cnnc.ops.conv import Conv
from cnnc.ops.winograd import Winograd
from cnnc.passes._transformed import Transformed

Choose = Callable[[Conv, Node], Winograd | None]


def use_winograd(
    graph: Graph, target: Target, choices: Choices = ESTIMATED, *, far: bool | None = None
) -> Graph:
    """conv(x, w), few taps on each axis  →  winograd(x, transformed w), where that is faster.

    It is where it was chosen, or else by estimate. Weights are transformed in float64 and rounded
    once. `far` is what `are_transformed_far` says of the whole net, where the graph is a part of
    it. UserError for a choice that is not possible.
    """
    is_far = are_transformed_far(graph, target) if far is None else far
    target = sharing_target(graph, target)

    def choose(op: Conv, node: Node) -> Winograd | None:
        chosen = chosen_for(node, choices)
        if chosen is None:
            return choose_winograd(op, node.inputs[0].type, target, is_far)
        if chosen.choice.algorithm != OFFER.name:
            return None
        return read_choice(chosen, op, node, target)

    return rewrite(graph, lambda node, graph: _rule(node, graph, target, choose))


def _rule(node: Node, graph: Graph, target: Target, choose: Choose) -> Node | None:
    op = node.op
    if not isinstance(op, Conv) or not suits(op, node.inputs, target):
        return None
    made = choose(op, node)
    if made is None:
        return None
    old = node.inputs[1]
    assert isinstance(old.op, Constant)
    kind = made.parameters(node.inputs[0].type)[0].type
    value = Constant(Transformed(old.op, made.tile, made.phases, kind))
    name = old.name if graph.is_private(old) else fresh_name(graph, f"{node.name}.weight")
    new = Node(value, (), kind, name, node.span)
    return replace(node, op=made, inputs=(node.inputs[0], new, *node.inputs[2:]))
