"""Rewriting: fixpoints, identity, new nodes over old ones."""

from dataclasses import replace

from cnnc.ir.graph import Graph, Node
from cnnc.ir.rewrite import fresh_name, rewrite, substitute
from cnnc.ops.activations.relu import Relu
from cnnc.ops.activations.tanh import Tanh
from cnnc.ops.graph_text import parse_graph

GRAPH = parse_graph(
    """
graph g (batch=1)
%0 x = input : f32[1, 2]
%1 a = tanh %0 : f32[1, 2]
%2 b = relu %1 : f32[1, 2]
%3 c = relu %2 : f32[1, 2]
%4 side = tanh %0 : f32[1, 2]
output y = %3
output z = %4
"""
)
X, A, B, C, SIDE = GRAPH.nodes


def chain(node: Node) -> list[str]:
    """Names from the node down to the input."""
    return [node.name, *(chain(node.inputs[0]) if node.inputs else [])]


def test_nothing_to_do_gives_the_same_graph() -> None:
    """Identity tells the driver that a pass did nothing."""
    assert rewrite(GRAPH, lambda node, graph: None) is GRAPH
    assert substitute(GRAPH, {}) is GRAPH
    assert substitute(GRAPH, {B: B}) is GRAPH


def test_untouched_nodes_keep_identity() -> None:
    """Only what is downstream of a change is new."""
    made = substitute(GRAPH, {B: A})
    assert made.outputs["z"] is SIDE
    assert made.inputs == (X,)
    assert made.outputs["y"].inputs == (A,)


def test_replacements_are_followed_through_each_other() -> None:
    """c → b and b → a in one sweep leave a."""
    assert substitute(GRAPH, {C: B, B: A}).outputs["y"] is A


def test_a_replacement_may_hold_new_nodes_over_old_ones() -> None:
    """Old operands inside it are replaced too."""
    inner = replace(B, op=Tanh(), name="inner")
    outer = replace(C, op=Tanh(), inputs=(inner,), name="outer")
    made = substitute(GRAPH, {A: X, C: outer})
    assert chain(made.outputs["y"]) == ["outer", "inner", "x"]


def test_rules_run_to_a_fixpoint_with_exact_users() -> None:
    """Each sweep sees the graph as it is; a wrapped node is not wrapped again."""
    seen = []

    def rule(node: Node, graph: Graph) -> Node | None:
        seen.append(graph.users[node])
        if isinstance(node.op, Relu) and not isinstance(node.inputs[0].op, Relu):
            return replace(node, op=Tanh())
        return None

    made = rewrite(GRAPH, rule)
    assert [node.op.label for node in made.nodes] == ["input", *["tanh"] * 4]
    assert chain(made.outputs["y"]) == ["c", "b", "a", "x"]
    assert len(seen) == 3 * len(GRAPH.nodes)


def test_a_node_may_be_wrapped() -> None:
    """The replacement reads what it replaces."""
    wrapper = replace(A, op=Relu(), inputs=(A,), name="wrapper")
    made = substitute(GRAPH, {A: wrapper})
    assert chain(made.outputs["y"]) == ["c", "b", "wrapper", "a", "x"]


def test_fresh_names_are_free() -> None:
    """A number is added where the name is taken."""
    assert fresh_name(GRAPH, "new") == "new"
    assert fresh_name(GRAPH, "a") == "a.1"
