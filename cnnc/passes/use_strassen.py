"""Convolutions of single positions that Strassen's algorithm computes faster."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.rewrite import fresh_name, substitute
from cnnc.offers.far import are_far
from cnnc.offers.offer import chosen_for
from cnnc.offers.shares import sharing_target
from cnnc.offers.strassen import OFFER, choose_strassen, read_choice
from cnnc.ops.fused import Fused
from cnnc.ops.strassen import PRODUCTS, Strassen
from cnnc.passes._combined import Combined
from cnnc.passes.stream_rows import streaming


def use_strassen(
    graph: Graph, target: Target, choices: Choices = ESTIMATED, *, far: bool | None = None
) -> Graph:
    """conv(x, w), one tap  →  strassen(x, sums of w), where that is faster.

    It is where it was chosen, or else by estimate, but not where one thread would compute a layer
    together with its neighbours: so results have the same bits for any number of cores. Weights are
    summed in float64 and rounded once. `far` says whether the whole net's weights come from memory,
    where the graph is a part of it. Where they do only with the sums, all layers are asked once
    more as if they did, and not a third time. UserError for a choice that is not possible.
    """
    shared = sharing_target(graph, target)
    layers = [node for node in graph.nodes if not node.is_leaf]
    is_far = are_far(graph, target) if far is None else far

    def choose(*, far: bool) -> dict[Node, Strassen]:
        found = _choose(layers, shared, choices, far=far)
        together = streaming(found, graph, replace(target, cores=1), choices)
        return {node: made for node, made in found.items() if node not in together}

    found = choose(far=is_far)
    more = sum(node.inputs[1].type.bytes for node in found) * (PRODUCTS - 4) // 4
    if far is None and not is_far and are_far(graph, target, more):
        found = choose(far=True)
    replacements = {node: _with_root(node, made, graph) for node, made in found.items()}
    return substitute(graph, replacements) if replacements else graph


def _choose(
    layers: Sequence[Node], target: Target, choices: Choices, *, far: bool
) -> dict[Node, Strassen]:
    """The layers that the algorithm computes."""
    found: dict[Node, Strassen] = {}
    for node in layers:
        chosen = chosen_for(node, choices)
        made = None
        if chosen is None:
            made = choose_strassen(node, target, far=far)
        elif chosen.choice.algorithm == OFFER.name:
            made = read_choice(chosen, node, target)
        if made is not None:
            found[node] = made
    return found


def _with_root(node: Node, made: Strassen, graph: Graph) -> Node:
    """The node with another operator that does its work, and weights for it."""
    x, old, *rest = node.inputs
    assert isinstance(old.op, Constant)
    kind = made.parameters(x.type)[0].type
    name = old.name if graph.is_private(old) else fresh_name(graph, f"{node.name}.weight")
    new = Node(Constant(Combined(old.op, kind)), (), kind, name, node.span)
    op = replace(node.op, root=made) if isinstance(node.op, Fused) else made
    return replace(node, op=op, inputs=(x, new, *rest))
