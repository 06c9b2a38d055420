"""Which batches are taken apart, and what becomes of them."""

from collections.abc import Mapping

import numpy as np
import pytest

from cnnc.base.source import SourceFile
from cnnc.driver import find_target, optimise, pipeline
from cnnc.frontend.load import Choices, load_text
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Array, Graph
from cnnc.ir.text import format_graph, large_constants
from cnnc.ir.verify import GraphError, verify
from cnnc.ops.graph_text import parse_graph
from cnnc.passes.take_apart import take_apart

TARGET = find_target("x86-64-v3")
BODY = "output y = x -> conv(16, 3) -> relu -> pool(avg, global) -> flatten -> dense(4)"


def net(body: str, batch: int | tuple[int, int] = 4, shape: str = "3, 80, 80") -> Graph:
    """The graph of a net as it is built."""
    text = f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n{body}\n  weights he(seed = 1)\n}}\n"
    return load_text(SourceFile("n.cnn", text), None, Choices(batch=batch)).graph


def drawn(graph: Graph) -> Mapping[str, Array]:
    """Values for the inputs."""
    random = np.random.default_rng(3)
    return {
        node.name: random.normal(0, 1, node.type.shape).astype(np.float32) for node in graph.inputs
    }


@pytest.mark.parametrize("batch", [2, 4, (1, 4)])
def test_independent_samples_are_taken_apart(batch: int | tuple[int, int]) -> None:
    graph = net(BODY, batch)
    apart = take_apart(graph, TARGET)
    verify(apart)
    assert apart.is_apart
    assert (apart.batch, apart.fewest) == (graph.batch, graph.fewest)
    assert [node.type.shape for node in apart.inputs] == [(1, 3, 80, 80)]
    assert apart.outputs["y"].type.shape == (1, 4)
    inputs = drawn(graph)
    assert np.array_equal(evaluate(apart, inputs)["y"], evaluate(graph, inputs)["y"])


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("output y = (x -> conv(8, 3)) -> transpose([1, 0, 2, 3])", "3, 48, 48"),
        ("output y = (x -> conv(8, 3)) -> reshape([2, -1, 46, 46])", "3, 48, 48"),
        ("output y = (x -> conv(8, 3)) -> slice(0, step = -1)", "3, 48, 48"),
        ("output y = (x -> conv(8, 3)) -> softmax(axis = 0)", "3, 48, 48"),
    ],
)
def test_samples_that_depend_on_each_other_stay_together(body: str, shape: str) -> None:
    graph = net(body, shape=shape)
    assert take_apart(graph, TARGET) is graph


def test_one_sample_is_not_taken_apart() -> None:
    graph = net(BODY, 1)
    assert take_apart(graph, TARGET) is graph


def test_short_samples_stay_together() -> None:
    """Calls and what begins anew for each sample would count."""
    graph = net(BODY, shape="3, 8, 8")
    assert take_apart(graph, TARGET) is graph


def test_layers_that_wait_for_weights_keep_samples_together() -> None:
    """All samples use what was read once; with few weights, they are taken apart."""
    dense = "output y = x -> conv(16, 3) -> relu -> pool(max, 4) -> flatten -> dense({})"
    few, many = net(dense.format(2)), net(dense.format(4000))
    assert take_apart(few, TARGET).is_apart
    assert take_apart(many, TARGET) is many


def test_small_machines_always_take_apart() -> None:
    graph = net(BODY, shape="3, 8, 8")
    assert take_apart(graph, find_target("thumbv7em-none-eabihf:cortex-m4")).is_apart


def test_as_text_and_back() -> None:
    apart = take_apart(net(BODY, (1, 4)), TARGET)
    text = format_graph(apart)
    assert "(batch=1..4, apart)" in text
    again = parse_graph(text, large_constants(apart))
    assert again.is_apart
    assert format_graph(again) == text


def test_a_graph_that_is_apart_holds_single_samples() -> None:
    apart = take_apart(net(BODY), TARGET)
    broken = apart.rebuild(lambda node: node)
    object.__setattr__(broken, "is_apart", False)
    with pytest.raises(GraphError, match="does not carry 4 samples"):
        verify(broken)


def test_later_passes_see_single_samples() -> None:
    """What they choose is chosen for one sample, and the same as for a batch of one."""
    seen = [optimise(net(BODY, batch), pipeline(TARGET)) for batch in (1, 4)]
    texts = [format_graph(graph).split("\n", 1)[1] for graph in seen]
    assert texts[0] == texts[1]
