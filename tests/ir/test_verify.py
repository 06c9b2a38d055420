"""Each rule of the verifier is broken once."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from cnnc.base.layout import Layout
from cnnc.ir.graph import Constant, Graph, Initial, Input, Node, Parameter
from cnnc.ir.types import TensorType
from cnnc.ir.verify import GraphError, verify
from cnnc.ops.graph_text import parse_graph
from tests.ir.random_graphs import graphs, operator

GRAPH = parse_graph(
    """
graph net (batch=2)
%0 x = input : f32[2, 3, 4]
%1 c.weight = constant [1.0, 2.0, 3.0] : f32[1, 3, 1]
%2 c.bias = constant [0.5] : f32[1]
%3 c = conv(channels=1, kernel=1) %0, %1, %2 : f32[2, 1, 4]
%4 r = relu %3 : f32[2, 1, 4]
output y = %4
""",
    name="net.cnn",
)
X, WEIGHT, BIAS, CONV, RELU = GRAPH.nodes


def with_output(node: Node) -> Graph:
    """The graph with another output."""
    return replace(GRAPH, outputs={"y": node})


def typed(*shape: int) -> TensorType:
    """A plain f32 type."""
    return TensorType.plain(shape)


def cycle() -> Graph:
    """A node that reads itself through another, which no constructor makes."""
    first = Node(operator("relu"), (X,), X.type, "first")
    second = Node(operator("relu"), (first,), X.type, "second")
    object.__setattr__(first, "inputs", (second,))
    return with_output(second)


BROKEN: dict[str, tuple[str, str, Graph]] = {
    "cycle": ("acyclic", "depends on itself", cycle()),
    "batch": ("batch", "does not carry 3 samples", replace(GRAPH, batch=3)),
    "batch of nothing": ("batch", "the batch is 0", replace(GRAPH, batch=0)),
    "input not listed": ("inputs", "not listed", replace(GRAPH, inputs=())),
    "input listed twice": ("inputs", "listed twice", replace(GRAPH, inputs=(X, X))),
    "no input": ("inputs", "relu is listed", replace(GRAPH, inputs=(X, RELU))),
    "no output": ("outputs", "there are none", replace(GRAPH, outputs={})),
    "leaf with operands": ("leaf", "has operands", with_output(replace(BIAS, inputs=(X,)))),
    "same name": ("names", "2 nodes", with_output(replace(RELU, name="c"))),
    "empty name": ("names", "'' is no name", with_output(replace(RELU, name=""))),
    "name with a space": ("names", "is no name", with_output(replace(RELU, name="a b"))),
    "input under another name": (
        "names",
        "is called x",
        Graph("net", (other := replace(X, name="z"),), {"y": other}),
    ),
    "parameter under another name": (
        "names",
        "is called a.b",
        with_output(Node(Parameter("a.b", Initial("ones")), (), typed(1), "b")),
    ),
    "shape of a constant": (
        "constant",
        "the value has shape [1]",
        with_output(replace(BIAS, type=typed(2))),
    ),
    "type of a constant": (
        "constant",
        "the value is float64",
        with_output(replace(BIAS, op=Constant(np.zeros(1)))),
    ),
    "rank of a layout": (
        "layout",
        "abcd does not order 3 axes",
        with_output(replace(RELU, type=RELU.type.with_layout(Layout.plain(4)))),
    ),
    "axis of a block": (
        "layout",
        "does not order 3 axes",
        with_output(replace(RELU, type=RELU.type.with_layout(Layout.blocked(3, 3, 16)))),
    ),
    "rank of a halo": (
        "layout",
        "a halo for 2 axes",
        with_output(
            replace(RELU, type=RELU.type.with_layout(Layout((0, 1, 2), (), ((0, 0), (1, 1)))))
        ),
    ),
    "part of fewer": (
        "layout",
        "no part of 1 channels",
        with_output(replace(RELU, type=replace(X.type, layout=Layout.parse("abc/1")), inputs=(X,))),
    ),
    "empty": (
        "type",
        "has no elements",
        Graph("net", (n := Node(Input("n"), (), typed(1, 0), "n"),), {"y": n}),
    ),
    "wrong shape": (
        "type",
        "relu gives f32[2, 1, 4]",
        with_output(replace(RELU, type=typed(2, 4))),
    ),
    "operand refused": (
        "type",
        "refuses its operands: conv here takes 2 parameters",
        with_output(replace(CONV, inputs=(X, WEIGHT))),
    ),
    "operand missing": ("type", "relu refuses its operands", with_output(replace(RELU, inputs=()))),
}


VIEWS = """
graph net (batch=2)
%0 x = input : f32[2, 4, 4]
%1 a = relu %0 : f32[2, 4, 4]@abc/8
%2 b = tanh %0 : f32[2, 4, 4]@abc/8
%3 c = view[concat] %1, %2 : f32[2, 8, 4]
%4 d = view[slice(axis=1, begin=4)] %3 : f32[2, 4, 4]@abc/8
%5 e = view[reshape(shape=[2, 4, 8])] %3 : f32[2, 4, 8]
%6 y = softmax %3 : f32[2, 8, 4]
%7 z = softmax %4 : f32[2, 4, 4]
%8 w = softmax %5 : f32[2, 4, 8]
output y = %6
output z = %7
output w = %8
"""
MISPLACED = {
    "another width": ("%1 a = relu %0 : f32[2, 4, 4]@abc/8", "@abc/8", "@abc/12", "within 8"),
    "another halo": ("%1 a = relu %0 : f32[2, 4, 4]@abc/8", "c/8", "c+c1:0/8", "lie differently"),
    "part of nothing": ("%6 y = softmax %3 : f32[2, 8, 4]", "4]", "4]@abc/16", "of nothing"),
    "an input": ("%3 c = view[concat] %1, %2", "%1", "%0", "not within 8"),
    "twice": ("%3 c = view[concat] %1, %2", "%2", "%1", "elsewhere already"),
    "an output": ("output z = %7", "%7", "%3", "outside the arena"),
    "moves": ("%4 d = view[slice(axis=1, begin=4)]", "begin=4", "step=2", "moves elements"),
    "rows": ("%3 : f32[2, 4, 8]", "8]", "8]@aBc4b", "lie differently"),
}


def test_who_shares_memory() -> None:
    """Views as they should be."""
    verify(parse_graph(VIEWS))


@pytest.mark.parametrize("case", MISPLACED)
def test_views_share_memory_as_layouts_say(case: str) -> None:
    """Each condition broken alone."""
    line, old, new, why = MISPLACED[case]
    broken = VIEWS.replace(line, line.replace(old, new))
    assert broken != VIEWS
    with pytest.raises(GraphError, match=why) as error:
        verify(parse_graph(broken))
    assert error.value.rule == "view"


@pytest.mark.parametrize("case", BROKEN)
def test_each_rule_bites(case: str) -> None:
    """The error names the rule and why."""
    rule, why, graph = BROKEN[case]
    with pytest.raises(GraphError) as error:
        verify(graph)
    assert error.value.rule == rule
    assert why in str(error.value)


def test_the_error_names_node_and_source() -> None:
    """What the driver needs to report a bug."""
    with pytest.raises(GraphError) as error:
        verify(with_output(replace(RELU, type=typed(2, 4))))
    assert error.value.node is not None
    assert error.value.node.name == "r"
    assert str(error.value.span) == "net.cnn:7:1"
    assert str(error.value).startswith("rule `type` is broken at r (net.cnn:7:1): relu gives")


def test_layouts_do_not_change_the_type() -> None:
    """An operator says nothing about the layout of its result."""
    blocked = RELU.type.with_layout(Layout.blocked(3, 1, 16))
    verify(with_output(replace(RELU, type=blocked)))


@settings(max_examples=40, deadline=None)
@given(graphs(casts=True))
def test_valid_graphs_pass(graph: Graph) -> None:
    """What operators infer is what the verifier expects."""
    verify(graph)


def test_what_was_checked_before_is_not_checked_again() -> None:
    """A node that is new is; so is what no node can be asked alone, such as names."""
    wrong = replace(RELU, type=typed(2, 1, 5))
    verify(with_output(wrong), {wrong})
    with pytest.raises(GraphError, match="type"):
        verify(with_output(wrong), {*GRAPH.nodes})
    twice = replace(RELU, name="c")
    with pytest.raises(GraphError, match="names"):
        verify(with_output(twice), {*GRAPH.nodes, twice})
