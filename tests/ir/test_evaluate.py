"""The oracle: values, order, memory, substitution, refusals."""

import weakref

import numpy as np
import pytest
from hypothesis import given, settings

from cnnc.base.errors import InternalError, UserError
from cnnc.ir.evaluate import evaluate, trace
from cnnc.ir.graph import Array, Graph, Node, Real
from cnnc.ops.graph_text import parse_graph
from tests.ir.random_graphs import arrays_for, graphs

GRAPH = parse_graph(
    """
graph net (batch=1)
%0 x = input : f32[1, 2]
%1 unused = input : u8[1]
%2 w = constant [3.0, 0.1] : f32[1, 2]
%3 scaled = mul %0, %2 : f32[1, 2]
%4 y = add %3, %0 : f32[1, 2]
output y = %4
output scaled = %3
"""
)
INPUTS: dict[str, Array] = {
    "x": np.array([[2.0, 1.0]], np.float32),
    "unused": np.zeros(1, np.uint8),
}
X = INPUTS["x"].astype(np.float64)


def test_outputs_are_rounded_once() -> None:
    """In float64 0.1f + 1 is not what float32 arithmetic gives; each output is rounded alone."""
    found = evaluate(GRAPH, INPUTS)
    tenth = float(np.float32(0.1))
    assert list(found) == ["y", "scaled"]
    assert found["y"].dtype == np.float32
    np.testing.assert_array_equal(found["y"], np.array([[8.0, tenth + 1]]).astype(np.float32))
    np.testing.assert_array_equal(found["scaled"], np.array([[6.0, 0.1]], np.float32))


def test_too_large_becomes_infinite_without_a_warning() -> None:
    """Rounding to float32 overflows quietly, as hardware does."""
    graph = parse_graph(
        "graph g (batch=1)\n%0 x = input : f32[1]\n%1 y = mul %0, %0 : f32[1]\noutput y = %1\n"
    )
    assert evaluate(graph, {"x": np.array([-1e30], np.float32)})["y"] == np.inf


def test_trace_gives_every_node_with_its_operands() -> None:
    """Operands come before users; floating point is float64, integers stay."""
    steps = list(trace(GRAPH, INPUTS))
    assert [step.node for step in steps] == list(GRAPH.nodes)
    assert [step.value.dtype for step in steps[:3]] == [np.float64, np.uint8, np.float64]
    np.testing.assert_array_equal(steps[4].operands[0], steps[3].value)
    np.testing.assert_array_equal(steps[4].value, steps[3].value + X)


def test_values_can_be_replaced() -> None:
    """What `change` returns is what readers see."""

    def double(node: Node, value: Real) -> Real:
        return value * 2 if node.name == "scaled" else value

    steps = {step.node.name: step.value for step in trace(GRAPH, INPUTS, double)}
    np.testing.assert_array_equal(steps["scaled"][0, 0], 12.0)
    np.testing.assert_array_equal(steps["y"][0, 0], 14.0)


def test_dead_values_are_let_go() -> None:
    """Along a chain no more than the last two values are alive."""
    lines = [f"%{i} n{i} = tanh %{i - 1} : f32[1, 4]" for i in range(1, 30)]
    text = "graph g (batch=1)\n%0 x = input : f32[1, 4]\n"
    graph = parse_graph(text + "\n".join(lines) + "\noutput y = %29\n")
    alive: list[weakref.ref[Real]] = []
    most = 0
    for step in trace(graph, {"x": np.ones((1, 4), np.float32)}):
        alive.append(weakref.ref(step.value))
        most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 3


@pytest.mark.parametrize(
    ("change", "code", "why"),
    [
        ({"x": np.zeros((2, 2), np.float32)}, "E0601", "`x` has shape [2, 2], not [1, 2]"),
        ({"x": np.zeros((1, 2))}, "E0602", "`x` is float64, not float32"),
        ({"x": None}, "E0603", "input `x` is missing"),
        ({"xs": np.zeros(1)}, "E0603", "net has no input `xs`"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    change: dict[str, Array | None], code: str, why: str
) -> None:
    """At the call, before anything is computed."""
    arrays = {name: array for name, array in {**INPUTS, **change}.items() if array is not None}
    with pytest.raises(UserError) as error:
        trace(GRAPH, arrays)
    assert [(each.code, each.message) for each in error.value.diagnostics] == [
        (code, error_of(why))
    ]


def error_of(why: str) -> str:
    """Messages of inputs begin alike."""
    return why if why.startswith(("input", "net")) else f"input {why}"


def test_all_wrong_arrays_are_named_at_once() -> None:
    """And a near name is suggested."""
    with pytest.raises(UserError) as error:
        evaluate(GRAPH, {"unusd": np.zeros(1)})
    assert [each.code for each in error.value.diagnostics] == ["E0603"] * 3
    assert error.value.diagnostics[0].help == "did you mean `unused`?"


def test_unbound_parameters_are_a_bug() -> None:
    """Weights are bound before anything runs."""
    graph = parse_graph(
        "graph g (batch=1)\n%0 p = parameter(initial=ones) : f32[1]\noutput y = %0\n"
    )
    with pytest.raises(InternalError, match="parameter p"):
        evaluate(graph, {})


@settings(max_examples=40, deadline=None)
@given(graphs(casts=True))
def test_random_graphs_give_their_declared_types(graph: Graph) -> None:
    """Values have the shapes that were inferred, whatever the operators."""
    found = evaluate(graph, arrays_for(graph))
    for name, node in graph.outputs.items():
        assert found[name].shape == node.type.shape
        assert found[name].dtype == node.type.dtype.numpy
