"""A graph prints, and reads back as the same graph."""

import numpy as np
import pytest
from hypothesis import given, settings

from cnnc.base.dtype import DType
from cnnc.base.source import SourceFile
from cnnc.ir.graph import Array, Constant, Graph, Initial, Input, Node, Parameter
from cnnc.ir.text import digest, format_graph, large_constants
from cnnc.ir.types import TensorType
from cnnc.ir.verify import verify
from cnnc.ops.fused import Earlier, Extra, Fused
from cnnc.ops.graph_text import GraphTextError, parse_graph, parse_operator
from cnnc.ops.spec import Operator, operators
from tests.ir.random_graphs import graphs

EXAMPLE = """\
graph example (batch=2)
%0 x = input : f32[2, 2, 4, 4]
%1 c.weight = constant [1.0, 2.5, 1e-45, 0.1, -inf, nan, -0.0, 3.4028235e+38] : f32[4, 2, 1, 1]
%2 c.bias = parameter(initial=zeros, fan_in=1, fan_out=1) : f32[4]
%3 c = conv(channels=4, kernel=1, pad=same) %0, %1, %2 : f32[2, 4, 4, 4]@aBcd16b+c1:1+d1:1
%4 tail = fused[2: add; relu{%0}; mul{%1, $0, %0}] %3, %3, %3 : f32[2, 4, 4, 4]
%5 plain = repack %4 : f32[2, 4, 4, 4]
output first = %3
output second = %5
"""


def test_example_reads_and_prints() -> None:
    """Every kind of node, layouts, fused operators, exact floats."""
    graph = parse_graph(EXAMPLE)
    verify(graph)
    assert format_graph(graph) == EXAMPLE
    assert [node.name for node in graph.inputs] == ["x"]
    fused = graph.nodes[4].op
    assert isinstance(fused, Fused)
    assert fused.root_arity == 2
    assert [step.op.name for step in fused.tail] == ["relu", "mul"]
    assert fused.tail[1].args == (Earlier(1), Extra(0), Earlier(0))
    assert graph.nodes[2].op == Parameter("c.bias", Initial("zeros"))


def test_spans_point_into_the_text_and_comments_are_skipped() -> None:
    """A graph in a bug report may be annotated; errors then name its lines."""
    text = "# found on a Tuesday\n\n" + EXAMPLE.replace(
        "kernel=1, pad=same) %0, %1, %2", "kernel=1) %0"
    )
    graph = parse_graph(
        text.replace("4, 4, 4]\noutput", "4, 4, 4]  # last\n\n  # so\noutput"), name="bug"
    )
    assert str(graph.nodes[0].span) == "bug:4:1"
    assert str(graph.outputs["second"].span) == "bug:9:1"


def test_places_are_printed_as_comments() -> None:
    """`places` adds the source of each node, which reading ignores."""
    graph = parse_graph(EXAMPLE, name="example.graph")
    text = format_graph(graph, places=True)
    assert "f32[2, 2, 4, 4]  # example.graph:2:1\n" in text
    assert format_graph(parse_graph(text)) == EXAMPLE


def test_large_constants_print_as_digests() -> None:
    """The digest names the value; equal values have equal digests, others do not."""
    value = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    kind = TensorType.plain(value.shape)
    nodes = [
        Node(Constant(v), (), kind, f"n{i}") for i, v in enumerate((value, value.copy(), -value))
    ]
    graph = Graph("g", (), {node.name: node for node in nodes})
    text = format_graph(graph)
    assert text.count(f"constant #{digest(value)} : f32[2, 3, 4]") == 2
    assert digest(value) != digest(value.reshape(4, 6)) != digest(value.astype(np.float64))
    found = parse_graph(text, large_constants(graph))
    for new, old in zip(found.nodes, nodes, strict=True):
        np.testing.assert_array_equal(new.constant, old.constant)
    with pytest.raises(GraphTextError, match="is not given"):
        parse_graph(text)
    assert format_graph(parse_graph(format_graph(graph, inline=24)), inline=24) == format_graph(
        graph, inline=24
    )


@pytest.mark.parametrize(
    "value",
    [
        np.array([0.1, 1 / 3, 1e-310, -np.inf, np.nan], np.float64),
        np.array([0.1, 1 / 3, 1e-40, 16777217.0, 8.5899346e9], np.float32),
        np.array([-(2**63), 2**63 - 1], np.int64),
        np.array([[0, 255]], np.uint8),
        np.array([True, False]),
        np.array(2.5, np.float32),
    ],
    ids=lambda value: str(value.dtype),
)
def test_elements_are_exact(value: Array) -> None:
    """Every element type, scalars, and numbers that decimals cannot hold."""
    kind = TensorType.plain(value.shape, DType.of(value.dtype))
    graph = Graph("g", (), {"out": Node(Constant(value), (), kind, "value")})
    found = parse_graph(format_graph(graph)).outputs["out"]
    assert found.type == kind
    assert found.constant is not None
    assert found.constant.tobytes() == value.tobytes()


@pytest.mark.parametrize("made", [each for each in operators() if issubclass(each, Operator)])
def test_operator_labels_read_back(made: type[Operator]) -> None:
    """The label of every sample of every operator."""
    for sample in made.samples():
        assert parse_operator(sample.op.label) == sample.op


@settings(max_examples=60, deadline=None)
@given(graphs(casts=True))
def test_random_graphs_round_trip(graph: Graph) -> None:
    """Printing, reading and printing again gives the same text, and a valid graph."""
    verify(graph)
    text = format_graph(graph)
    found = parse_graph(text, large_constants(graph))
    verify(found)
    assert format_graph(found) == text


def test_input_order_and_unused_inputs_are_kept() -> None:
    """The order of declaration, not of use."""
    kind = TensorType.plain((1, 2))
    first, second = (Node(Input(name), (), kind, name) for name in ("b", "a"))
    graph = Graph("g", (first, second), {"out": second})
    found = parse_graph(format_graph(graph))
    assert [node.name for node in found.inputs] == ["b", "a"]


GOOD = "graph g (batch=1)\n%0 x = input : f32[1, 2]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "text:1:1: expected a graph"),
        ("graph g\n", "text:1:8: expected a batch"),
        (GOOD + "%1 y = rellu %0 : f32[1, 2]\n", "text:3:13: no operator is called rellu"),
        (GOOD + "%1 y = relu(a=1) %0 : f32[1, 2]\n", "relu has no attribute a"),
        (GOOD + "%1 y = dense %0 : f32[1, 2]\n", "dense needs features"),
        (GOOD + "%1 y = dense(features=0) %0 : f32[1, 2]\n", "features: expected an integer ≥ 1"),
        (GOOD + "%1 y = relu %2 : f32[1, 2]\n", "text:3:15: %2 is not defined above"),
        (GOOD + "%0 y = relu %0 : f32[1, 2]\n", "%0 is defined twice"),
        (GOOD + "%1 y = relu %0 : f16[1, 2]\n", "expected an element type"),
        (GOOD + "%1 y = relu %0 : f32[1, x]\n", "expected an extent"),
        (GOOD + "%1 y = relu %0 : f32[1, 2]@ba8\n", "invalid layout"),
        (GOOD + "%1 y = constant [1, 2] : f32[3]\n", "invalid elements for f32[3]"),
        (GOOD + "%1 y = constant [1, two] : f32[2]\n", "invalid elements"),
        (GOOD + "%1 y = parameter : f32[2]\n", "expected parameter"),
        (GOOD + "%1 y = fused[1: relu; softmax{%0}] %0 : f32[1, 2]\n", "softmax is not pointwise"),
        (GOOD + "output a = %0 and more\n", "expected the end of the line"),
        (GOOD + "output a = %0\nwhat\n", "text:4:1: expected a node or an output"),
    ],
)
def test_what_does_not_read(text: str, why: str) -> None:
    """The message names the place and the reason."""
    with pytest.raises(GraphTextError) as error:
        parse_graph(text, name="text")
    assert why in str(error.value)


def test_source_files_of_spans_are_shared() -> None:
    """All nodes of one text point into one source."""
    sources = {node.span.source for node in parse_graph(EXAMPLE).nodes if node.span}
    assert sources == {SourceFile("graph", EXAMPLE)}
