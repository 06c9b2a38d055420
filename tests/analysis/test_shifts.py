"""Shifts: what is said to follow them does, and what is said not to, does not."""

import numpy as np
import pytest
from hypothesis import given, settings

import cnnc
from cnnc.analysis.analysis import Wishes, analyze_graph
from cnnc.analysis.dependence import Dependences
from cnnc.analysis.equivariance import AxisShift, relative
from cnnc.analysis.inputs import directions
from cnnc.analysis.shift import Bound, Moving, Shifts
from cnnc.ir.evaluate import trace
from cnnc.ir.graph import Graph, Node
from tests.ir.random_graphs import arrays_for, graphs

TIGHT = {
    "strided": "conv(4, 3, stride = 2, pad = 1) -> relu -> conv(3, 3, pad = 1)",
    "dilated": "conv(2, 3, dilation = 3, pad = same) -> conv(2, 2)",
    "maximum": "conv(3, 3) -> pool(max, 3, stride = 2, pad = 1)",
    "average": "pool(avg, 3, stride = 2, pad = 1) -> conv(2, 2, pad = causal)",
    "weighted": "pool(weighted, 3, stride = 1, pad = 1, falloff = linear)",
    "transposed": "conv(4, 3, stride = 2, pad = 1) -> conv_transpose(3, 4, stride = 2, pad = 1)",
    "spread": "conv_transpose(2, 3, stride = 3)",
    "blocks": "conv(8, 3, pad = same) -> depth_to_space(2) -> conv(2, 3)",
    "unblocked": "space_to_depth(2) -> conv(4, 3)",
    "sliced": "slice(axis = 2, begin = 3, end = 15) -> conv(2, 3, pad = same)",
    "reflected": "pad(2, mode = reflect) -> conv(2, 3)",
    "turned": "transpose([0, 1, 3, 2]) -> conv(2, [1, 3], pad = 1)",
    "branches": "add { conv(2, 3, pad = same) | conv(2, 5, pad = same) | id }",
    "one by one": "conv(4, 1, stride = 2) -> softmax",
}
"""Nets on f32[N, 2, 18, 20] for which every position in the margin really changes."""


def graph_of(body: str, shape: str = "N, 2, 18, 20") -> Graph:
    """A net of one pipeline with random weights."""
    text = f"cnn 1\nnet n {{\n  input x: f32[{shape}]\n  output y = x -> {body}\n  weights he\n}}\n"
    return cnnc.load_text(text).graph


def rows_of(graph: Graph) -> tuple[AxisShift, ...]:
    """How the output follows shifts, measured on white noise."""
    wishes = Wishes(layers=tuple(graph.outputs), arrays=arrays_for(graph), pixels=0)
    return analyze_graph(graph, wishes).shifts


@settings(max_examples=60)
@given(graphs())
def test_positions_inside_follow_exactly(graph: Graph) -> None:
    """Every layer of random networks, along every axis."""
    layers = tuple(node.name for node in graph.nodes if not node.is_leaf)
    wishes = Wishes(layers=layers, arrays=arrays_for(graph), pixels=0)
    for row in analyze_graph(graph, wishes).shifts if layers else ():
        assert row.measured is None or row.measured.holds, row


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", TIGHT)
def test_margins_are_as_small_as_can_be(name: str, axis: int) -> None:
    """What is excluded deviates on random numbers; what is not, follows."""
    graph = graph_of(TIGHT[name])
    target = graph.outputs["y"]
    shifts = Shifts(graph, Dependences(), directions(graph)[axis])
    state = shifts.states[target]
    assert isinstance(state, Moving)
    changed = shifts.changed(state.pixels)[target].mask()
    before, after = moved_values(graph, target, state.pixels, 2 + axis)
    deviates = relative(np.roll(before, state.positions, state.axis), after) > 1e-9
    others = tuple(place for place in range(changed.ndim) if place != state.axis)
    free = slice(state.positions, None)  # the first positions show what has entered
    found, excluded = deviates.any(axis=others)[free], changed.any(axis=others)[free]
    np.testing.assert_array_equal(found, excluded)
    assert not excluded.all()


def moved_values(
    graph: Graph, target: Node, pixels: int, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """The target's values on two windows of the same noise, some pixels apart."""
    shape = list(graph.inputs[0].type.shape)
    shape[axis] += pixels
    noise = np.random.default_rng(3).normal(0, 1, shape).astype(np.float32)
    extent = shape[axis] - pixels
    first, second = (noise.take(range(k, k + extent), axis=axis) for k in (pixels, 0))
    return value_of(graph, target, first), value_of(graph, target, second)


def value_of(graph: Graph, target: Node, x: np.ndarray) -> np.ndarray:
    """The target's value in float64."""
    return next(step.value for step in trace(graph, {"x": x}) if step.node is target)


@pytest.mark.parametrize(
    ("body", "layer", "why"),
    [
        ("conv(2, 3) -> flatten -> dense(4)", "y.flatten", "mixes positions"),
        ("unshared(2, 3, bias = false)", "y", "`y.weight` differs from position to position"),
        ("pool(weighted, global, falloff = linear)", "y", "not treat all positions alike"),
        ("transpose([0, 2, 3, 1]) -> reshape([0, -1, 2])", "y.reshape", "order"),
    ],
)
def test_what_cannot_follow_says_why(body: str, layer: str, why: str) -> None:
    """The first layer that is tied to positions is named."""
    graph = graph_of(body)
    state = Shifts(graph, Dependences(), directions(graph)[1]).states[graph.outputs["y"]]
    assert isinstance(state, Bound)
    assert state.layer == layer
    assert why in state.why


def test_global_pooling_is_invariant() -> None:
    """On inputs that are shifted around, a sum over all positions stays."""
    graph = graph_of("conv(3, 1) -> pool(avg, global) -> flatten -> dense(2)")
    for row in rows_of(graph):
        assert (row.kind, row.pixels, row.free) == ("invariant", 1, None)
        assert row.measured is not None
        assert row.measured.anywhere < 1e-9


def test_a_gate_moves_with_its_picture() -> None:
    """But no position is free of what the gate has seen at the edges."""
    text = """cnn 1
    net n {
      input x: f32[N, 2, 8, 8]
      gate = x -> pool(avg, global) -> conv(2, 1) -> sigmoid
      output y = x * gate
      weights he
    }"""
    for row in rows_of(cnnc.load_text(text).graph):
        assert (row.kind, row.pixels, row.positions, row.free) == ("equivariant", 1, 1, 0)


def test_inputs_of_one_size_move_together() -> None:
    """Two pictures that are added; a third one of another size moves on its own."""
    text = """cnn 1
    net n {
      input a: f32[N, 2, 8, 8]
      input b: f32[N, 2, 8, 8]
      input c: f32[N, 2, 1, 4]
      output y = (a -> conv(2, 3)) + (b -> conv(2, 3)) + (c -> pool(max, global))
      weights he
    }"""
    rows = rows_of(cnnc.load_text(text).graph)
    found = [(row.inputs, row.letter, row.kind, row.margin) for row in rows]
    assert found == [
        (("a", "b"), "h", "equivariant", (0, 0)),
        (("a", "b"), "w", "equivariant", (0, 0)),
        (("c",), "w", "invariant", None),
    ]
    assert all(row.measured and row.measured.holds for row in rows)


def test_channels_may_come_last() -> None:
    """The spatial axes are those of the picture, not those that follow the first two."""
    text = """cnn 1
    net n {
      input x: f32[N, 8, 9, 3] { layout = nhwc }
      output y = x -> conv(2, 3, stride = [1, 2])
      weights he
    }"""
    graph = cnnc.load_text(text).graph
    rows = rows_of(graph)
    assert [(row.letter, row.pixels, row.extent) for row in rows] == [("h", 1, 6), ("w", 2, 4)]
    assert all(row.measured and row.measured.holds for row in rows)


def test_compiled_code_follows_too() -> None:
    """Machine code in float32 moves its results as the reference does, but for rounding."""
    body = "conv(8, 3, stride = 2, pad = 1) -> relu -> pool(avg, 2, stride = 1) -> conv(3, 3)"
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[N, 2, 24, 24]\n  output y = x -> {body}\n  weights he\n}}"
    )
    model = cnnc.load_text(text)
    (row, _), net = model.analyze(layers=["y"]).shifts, model.compile()
    assert (row.pixels, row.positions, row.margin) == (2, 1, (1, 0))
    assert row.pixels is not None
    assert row.positions is not None
    assert row.margin is not None
    assert row.extent is not None
    noise = np.random.default_rng(0).normal(size=(1, 2, 24 + row.pixels, 24)).astype(np.float32)
    before, after = net(noise[:, :, row.pixels :])["y"], net(noise[:, :, : -row.pixels])["y"]
    inside = slice(row.positions + row.margin[0], row.extent - row.margin[1])
    expected = np.roll(before, row.positions, 2)[:, :, inside]
    assert expected.shape[2] == row.free
    np.testing.assert_allclose(after[:, :, inside], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(np.roll(before, row.positions, 2) - after).max() > 1e-2
