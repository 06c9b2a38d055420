"""Dependence through networks against brute force: an element is set to NaN, who notices?

NaN passes through every operator that reads it, so the reference shows exactly what is connected.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnc
from cnnc.analysis.network import Reach
from cnnc.analysis.region import Region
from cnnc.ir.evaluate import trace
from cnnc.ir.graph import Graph, Node
from tests.ir.random_graphs import arrays_for, graphs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def point(node: Node, index: tuple[int, ...]) -> Region:
    """One element of a node's value."""
    return Region.box(node.type.shape, [slice(i, i + 1) for i in index])


def notices(graph: Graph, source: Node, index: tuple[int, ...]) -> dict[Node, np.ndarray]:
    """Which elements of every value become NaN with this element of an input."""
    arrays = {name: array.copy() for name, array in arrays_for(graph).items()}
    arrays[source.name][index] = np.nan
    return {step.node: np.isnan(step.value) for step in trace(graph, arrays)}


def compare_both_ways(graph: Graph, source: Node, index: tuple[int, ...]) -> None:
    """Forward from the element to all values, and back from one of those to the element."""
    reach = Reach(graph)
    found = reach.reached_from(source, point(source, index))
    for node, expected in notices(graph, source, index).items():
        reached = found[node].mask() if node in found else np.zeros(node.type.shape, bool)
        np.testing.assert_array_equal(reached, expected, err_msg=node.name)
    for node in graph.outputs.values():
        first = np.argwhere(found[node].mask())[:1] if node in found else []
        for element in first:
            seen = reach.seen_by(node, point(node, tuple(element)))[source]
            assert seen.mask()[index]


@settings(max_examples=60)
@given(graphs(), st.data())
def test_random_networks(graph: Graph, data: st.DataObject) -> None:
    """Branches, dilation, strides, padding, pooling, reshaping, broadcasting, one element each."""
    source = graph.inputs[data.draw(st.integers(0, len(graph.inputs) - 1))]
    flat = data.draw(st.integers(0, source.type.elements - 1))
    index = tuple(int(i) for i in np.unravel_index(flat, source.type.shape))
    compare_both_ways(graph, source, index)


@pytest.mark.parametrize("name", ["ds_cnn", "lenet5", "pooling", "two_inputs"])
def test_well_known_networks(name: str) -> None:
    """The middle of every input, at full size."""
    graph = cnnc.load(EXAMPLES / "zoo" / f"{name}.cnn", batch=1).graph
    for source in graph.inputs:
        compare_both_ways(graph, source, tuple(extent // 2 for extent in source.type.shape))


@pytest.mark.parametrize("name", ["digits/digits.cnn", "sunspots/sunspots.cnn"])
def test_examples(name: str) -> None:
    """Sixteen pixels of the digits, corners among them, and every year of the sunspots."""
    graph = cnnc.load(EXAMPLES / name, batch=1).graph
    source = graph.inputs[0]
    step = max(1, source.type.elements // 15)
    for flat in range(0, source.type.elements, step):
        index = np.unravel_index(flat, source.type.shape)
        compare_both_ways(graph, source, tuple(int(i) for i in index))


def test_layers_are_a_list() -> None:
    """A single name is not taken for a list of letters."""
    text = (
        "cnn 1\nnet n {\n  input x: f32[N, 1, 4, 4]\n  output y = x -> conv(1, 3)\n  weights he\n}"
    )
    with pytest.raises(cnnc.UserError, match=r"layers are a list of names.*\n.*\['y'\]"):
        cnnc.load_text(text).analyze(layers="y")
