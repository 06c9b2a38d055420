"""Bands that keep rows for the next one: results are those of the layers one by one."""

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.targets import named_target, runs_here
from cnnc.ir.text import format_graph, large_constants
from cnnc.loop.text import print_kernel
from cnnc.lowering.lower import lower
from cnnc.offers.streamed import joined
from cnnc.ops.graph_text import parse_graph
from cnnc.ops.streamed import Streamed
from cnnc.passes.share_memory import share_memory
from cnnc.passes.stream_rows import join, lines
from tests.backends.compilers import BACKENDS, NATIVE, runnable
from tests.backends.streams import TARGET, outputs, plan, special, stream_all

NETS = [
    pytest.param(
        "conv(20, 1) -> relu6 -> conv(20, 3, pad = 1, groups = 20) -> conv(17, 1)",
        "9, 12, 7",
        id="pw-dw-pw",
    ),
    pytest.param(
        "conv(16, 3, pad = 1, groups = 16) -> relu -> conv(24, 1) -> relu"
        " -> conv(24, 3, stride = 2, pad = 1, groups = 24) -> conv(18, 1)",
        "16, 24, 9",
        id="strided",
    ),
    pytest.param(
        "conv(9, 3, pad = 1) -> conv(16, 3, pad = 1) -> conv(7, 3, pad = 1)",
        "5, 12, 5",
        id="windows",
    ),
    pytest.param(
        "conv(17, 5, stride = 2, pad = 2) -> relu -> pool(max, 3, stride = 2, pad = 1) -> exp",
        "3, 48, 10",
        id="stem",
    ),
    pytest.param(
        "conv(16, 3, pad = same_lower, dilation = 2) -> conv(18, [2, 3], pad = [[2, 1], [0, 3]])"
        " -> conv(16, [4, 1], pad = [[0, 1], 0])",
        "6, 12, 10",
        id="dilated",
    ),
    pytest.param(
        "pool(max, 3, stride = 1, pad = 1) -> pool(max, [5, 2], stride = 1, pad = [2, 0])"
        " -> conv(8, 3, pad = [5, 1])",
        "16, 4, 15",
        id="far-outside",
    ),
]
BANDS = [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (4, 1), (6, 2), (12, 1)]
"""Rows of a band, and runs, of twelve rows."""


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("body", "shape"), NETS)
def test_results_are_those_of_the_layers(
    body: str, shape: str, backend: Backend, name: str
) -> None:
    target = runnable(backend, name)
    batch = 1 if backend is INTERP else 2
    graph = plan(body, shape, target, batch)
    assert {line[-1].type.shape[2] for line in lines(graph, TARGET)} == {12}
    x = special(graph, batch)
    expected = outputs(share_memory(graph), x, backend, target)
    for rows, runs in BANDS[:: 1 if backend is NATIVE else 4]:
        made = stream_all(graph, rows, runs=runs)
        for threads in range(1, batch + 1):
            found = outputs(made, x, backend, target, threads)
            np.testing.assert_array_equal(found, expected, f"{rows} rows, {threads} threads")


def test_a_residual_is_read_where_it_is_added() -> None:
    """In the rows of the last stage, and of one before it, whose first rows come early."""
    target = named_target("x86-64-v3")
    body = """r = x -> conv(16, 1) -> relu
  b = r + (r -> conv(32, 1) -> conv(32, 3, pad = 1, groups = 32) -> relu -> conv(16, 1))
  c = b -> relu -> conv(16, 3, pad = 1)
  output y = c * b -> conv(16, 5, pad = 2) -> conv(8, 3, pad = 1)"""
    graph = plan(body, "5, 8, 3", target, 2)
    x = special(graph, 1)
    expected = outputs(share_memory(graph), x, INTERP, target)
    for rows, runs in ((1, 1), (1, 4), (2, 2), (4, 2)):
        made = stream_all(graph, rows, runs=runs)
        np.testing.assert_array_equal(outputs(made, x, INTERP, target), expected)
        if runs_here(target):
            np.testing.assert_array_equal(outputs(made, x, NATIVE, target, 2), expected)


def test_rows_that_two_bands_need_are_computed_once() -> None:
    target = named_target("x86-64-v3")
    graph = plan("conv(16, 1) -> conv(16, 3, pad = 1, groups = 16)", "16, 12, 5", target)
    made = stream_all(graph, 2, runs=3)
    (node,) = (each for each in made.nodes if isinstance(each.op, Streamed))
    first, second = node.op.parts(*(operand.type for operand in node.inputs))
    assert (first.writes.count, first.writes.before, second.takes.count) == (2, 2, 4)
    (layer,) = (each for each in lower(made, target).layers if each.node.name == node.name)
    assert "2 rows at a time, in turn" in layer.kernel.origin.algorithm
    loops = print_kernel(layer.kernel)
    assert "for run in 3 parallel" in loops
    assert "for turn in 2 reduce" in loops
    assert "scratch t0: f32[1, 16, 4, 5]" in loops


def test_the_graph_prints_and_reads() -> None:
    graph = plan("conv(16, 1) -> conv(16, 3, pad = 1)", "16, 12, 5", TARGET)
    made = stream_all(graph, 3, runs=2)
    text = format_graph(made)
    assert "streamed[3 in 2: " in text
    assert format_graph(parse_graph(text, large_constants(made))) == text


@pytest.mark.parametrize(
    ("body", "strips", "runs", "why"),
    [
        pytest.param("conv(16, 1) -> conv(16, 3, pad = 1)", {}, 4, "6 bands", id="not-divided"),
        pytest.param(
            "conv(32, 1) -> conv(32, 3, pad = 1, groups = 32)", {0: 1}, 2, "strips", id="strips"
        ),
        pytest.param("conv(16, 1) -> conv(16, 1, stride = 2)", {}, 1, "gaps", id="gaps"),
    ],
)
def test_these_have_no_runs(body: str, strips: dict[int, int], runs: int, why: str) -> None:
    graph = plan(body, "16, 12, 5", TARGET)
    (line,) = lines(graph, TARGET)
    made = joined(line, 2, strips, runs)
    types = [operand.type for operand in join(line, made).inputs]
    with pytest.raises(ValueError, match=why):
        made.parts(*types)
