"""The whole pipeline of the driver on random graphs, layouts included."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from cnnc import driver
from cnnc.base.dtype import DType
from cnnc.base.target import Target
from cnnc.driver import Pass, find_target, optimise, pipeline
from cnnc.ir.evaluate import evaluate, trace, widen
from cnnc.ir.graph import Graph
from cnnc.ir.text import format_graph, large_constants
from cnnc.ops.graph_text import parse_graph
from tests.ir.random_graphs import arrays_for, graphs

TRIPLE = "x86_64-unknown-linux-gnu"
WIDE = Target(TRIPLE, "", "", vector_bits=512, vector_registers=32, has_fma=True)
GPU = find_target("cuda")
NARROW = Target(TRIPLE, "", "", vector_bits=128, vector_registers=16, has_fma=False)


@pytest.mark.parametrize("target", [WIDE, NARROW, GPU], ids=["wide", "narrow", "gpu"])
@settings(max_examples=60, deadline=None)
@given(graph=graphs(DType.F32))
def test_the_pipeline_keeps_the_meaning(target: Target, graph: Graph) -> None:
    """Equal results up to the rounding of folded weights; verified after each pass."""
    after = optimise(graph, pipeline(target))
    arrays = arrays_for(graph)
    size = max(float(abs(step.value).max()) for step in trace(graph, arrays))
    expected, found = evaluate(graph, arrays), evaluate(after, arrays)
    for output in graph.outputs:
        difference = abs(widen(found[output]) - widen(expected[output]))
        assert difference.max() <= 1e-4 * (1 + size)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(DType.F32))
def test_what_the_pipeline_makes_reads_back(graph: Graph) -> None:
    """Fused operators, layouts with blocks and halos, repacked tensors."""
    after = optimise(graph, pipeline(WIDE))
    text = format_graph(after)
    assert format_graph(parse_graph(text, large_constants(after))) == text


@given(graph=graphs(DType.F32))
def test_only_what_a_pass_changed_is_verified_again(graph: Graph) -> None:
    """The graph as built, and the copy that the second of two passes makes."""
    copy, seen = replace(graph), []
    passes = [Pass("nothing", lambda graph: graph), Pass("copy", lambda graph: copy)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "verify", lambda graph, sound: seen.append(graph))
        assert optimise(graph, passes) is copy
    assert len(seen) == 2
    assert seen[0] is graph
    assert seen[1] is copy
