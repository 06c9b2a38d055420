"""Strips of channels computed row by row: results are those of the layers, bit for bit."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.targets import named_target
from cnnc.base.dtype import DType
from cnnc.driver import find_target
from cnnc.ir.graph import Graph
from cnnc.ir.text import format_graph, large_constants
from cnnc.loop.kernel import For, Kernel, Kind, walk
from cnnc.lowering.lower import lower
from cnnc.offers import streamed as offers
from cnnc.ops.conv import Conv
from cnnc.ops.fused import Fused
from cnnc.ops.graph_text import parse_graph
from cnnc.ops.pool import Pool
from cnnc.ops.spec import Operator
from cnnc.ops.streamed import Streamed
from cnnc.ops.strips import can_have_strips
from cnnc.passes.share_memory import share_memory
from cnnc.passes.stream_rows import stream_rows
from tests.backends.compilers import BACKENDS, NATIVE, runnable
from tests.backends.streams import TARGET, outputs, plan, special, stream_all

SERVER = replace(find_target("x86-64-v4"), l1_bytes=48 << 10, l2_bytes=1 << 20, cores=1)
NETS = [
    pytest.param(
        "conv(96, 1) -> relu6 -> conv(96, 3, pad = 1, groups = 96) -> relu6 -> conv(24, 1)",
        *("17, 8, 9", {0: 2}),
        id="between",
    ),
    pytest.param(
        "conv(96, 1) -> conv(96, 3, stride = 2, pad = 1, groups = 96)",
        *("16, 8, 7", {0: 3}),
        id="alone",
    ),
    pytest.param(
        "conv(64, 3, pad = same) -> conv(64, 5, stride = 2, pad = 2, groups = 64) -> sigmoid",
        *("5, 12, 11", {0: 1}),
        id="window-before",
    ),
    pytest.param(
        "conv(64, 1) -> conv(64, 3, stride = 3, groups = 64) -> conv(7, 1)",
        *("8, 18, 10", {0: 4}),
        id="no-overlap",
    ),
    pytest.param(
        "conv(64, 1) -> conv(64, 3, pad = [5, 0], groups = 64, dilation = 2) -> tanh",
        *("9, 6, 8", {0: 2}),
        id="far-outside",
    ),
    pytest.param(
        "conv(17, 1) -> relu -> conv(64, 1) -> conv(64, [4, 1], stride = [1, 2],"
        " pad = [[2, 1], [0, 0]], groups = 64) -> conv(18, 3, pad = 1)",
        *("9, 6, 5", {1: 2}),
        id="in-the-middle",
    ),
    pytest.param(
        "conv(32, 1) -> conv(32, 3, pad = 1, groups = 32) -> conv(64, 1)"
        " -> conv(64, 3, stride = 2, pad = 1, groups = 64)",
        *("9, 8, 6", {0: 1, 2: 2}),
        id="twice",
    ),
    pytest.param("conv(64, 1) -> conv(64, 1, groups = 64)", "9, 4, 6", {0: 2}, id="one-row"),
    pytest.param(
        "\n  a = x -> conv(64, 1) -> prelu -> conv(64, 3, pad = 1, groups = 64)\n"
        "  output y = a + (x -> conv(64, 1)) * (x -> conv(1, 1))\n",
        *("9, 6, 6", {0: 2}),
        id="tails",
    ),
    pytest.param(
        "\n  a = x -> conv(64, 1) -> conv(64, 3, pad = 1, groups = 64)\n"
        "  output y = concat { x -> conv(32, 1) | a } -> conv(8, 3, pad = 1)\n",
        *("9, 6, 6", {0: 2}),
        id="in-a-concat",
    ),
]


def streamed(graph: Graph) -> list[Streamed]:
    """The operators that were joined."""
    return [node.op for node in graph.nodes if isinstance(node.op, Streamed)]


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("body", "shape", "strips"), NETS)
def test_results_are_those_of_the_layers(
    body: str, shape: str, strips: dict[int, int], backend: Backend, name: str
) -> None:
    target = runnable(backend, name)
    batch = 1 if backend is INTERP else 2
    graph = plan(body, shape, target, batch)
    x = special(graph, batch)
    expected = outputs(share_memory(graph), x, backend, target)
    height = graph.outputs["y"].type.shape[2]
    sizes = [rows for rows in range(1, height + 1) if height % rows == 0]
    for rows in (sizes[-1], sizes[0], sizes[len(sizes) // 2])[: 2 * batch - 1]:
        made = stream_all(graph, rows, strips)
        assert [stage.strip for op in streamed(made) for stage in op.stages if stage.strip]
        for threads in range(1, 2 * batch):
            found = outputs(made, x, backend, target, threads)
            np.testing.assert_array_equal(found, expected, f"{rows} rows, {threads} threads")


def kernel_of(graph: Graph) -> Kernel:
    """The loops of the joined layers of a graph."""
    (layer,) = (each for each in lower(graph, TARGET).layers if isinstance(each.node.op, Streamed))
    return layer.kernel


def test_a_ring_of_rows_lies_between_the_stages() -> None:
    graph = plan("conv(32, 1) -> conv(32, 3, pad = 1, groups = 32)", "8, 40, 6", TARGET)
    whole, ring = (
        lower(stream_all(graph, 40, strips), TARGET).program.scratch_bytes
        for strips in ({}, {0: 2})
    )
    assert whole == 32 * 42 * 8 * 4
    assert ring == 2 * TARGET.lanes(graph.inputs[0].type.dtype) * 3 * 8 * 4


@pytest.mark.parametrize(("tail", "is_parallel"), [("", True), (" -> conv(8, 1)", False)])
def test_threads_share_strips_of_the_only_stages(tail: str, *, is_parallel: bool) -> None:
    """Others need all strips of a band."""
    graph = plan(f"conv(32, 1) -> conv(32, 3, pad = 1, groups = 32){tail}", "8, 6, 6", TARGET)
    kernel = kernel_of(stream_all(graph, 6, {0: 2}))
    (strip,) = (s for s in walk(kernel.body) if isinstance(s, For) and s.var == "strip")
    assert (strip.kind is Kind.PARALLEL) is is_parallel


@pytest.mark.parametrize(
    ("body", "is_possible"),
    [
        pytest.param("conv(32, 1) -> conv(32, 3, groups = 32)", True, id="depthwise"),
        pytest.param("conv(32, 1) -> conv(32, 3, groups = 16)", False, id="groups"),
        pytest.param("conv(32, 1) -> conv(64, 3, groups = 32)", False, id="multiplied"),
        pytest.param("conv(32, 1) -> conv(32, 3)", False, id="all-channels"),
        pytest.param("conv(32, 1) -> pool(max, 2)", False, id="pool"),
        pytest.param("conv(32, 1, groups = 2) -> conv(32, 3, groups = 32)", False, id="first"),
        pytest.param("conv(32, 1) -> conv(32, 2, stride = 3, groups = 32)", False, id="gaps"),
        pytest.param("conv(32, 1) -> prelu -> conv(32, 3, groups = 32)", True, id="tail"),
    ],
)
def test_which_layers_can_have_strips(body: str, *, is_possible: bool) -> None:
    graph = plan(body, "16, 14, 14", TARGET)
    first, second = (node for node in graph.nodes if isinstance(node.op, Conv | Pool | Fused))
    assert isinstance(first.op, Operator)
    assert isinstance(second.op, Operator)
    assert can_have_strips(first.op, first.type, second.op) is is_possible


@pytest.mark.parametrize(
    ("body", "strips"),
    [
        pytest.param("conv(64, 1) -> conv(64, 3, groups = 64)", {1: 1}, id="last"),
        pytest.param("conv(64, 1) -> conv(64, 3)", {0: 1}, id="all-channels"),
        pytest.param("conv(48, 1) -> conv(48, 3, groups = 48)", {0: 5}, id="blocks-left"),
        pytest.param("conv(18, 1) -> conv(18, 3, groups = 18)", {0: 1}, id="channels-left"),
        pytest.param(
            "conv(32, 1) -> conv(32, 3, groups = 32) -> conv(32, 3, groups = 32)",
            {0: 1, 1: 1},
            id="both",
        ),
    ],
)
def test_strips_that_do_not_fit_are_refused(body: str, strips: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="no strips of"):
        kernel_of(stream_all(plan(body, "16, 6, 6", TARGET), 1, strips))


def test_a_strip_may_be_one_channel() -> None:
    target = named_target("riscv64")
    graph = plan("conv(4, 1) -> conv(4, 3, pad = 1, groups = 4)", "3, 4, 5", target)
    x = special(graph, 1)
    found = outputs(stream_all(graph, 4, {0: 1}), x, INTERP, target)
    np.testing.assert_array_equal(found, outputs(share_memory(graph), x, INTERP, target))


def test_what_is_combined_may_have_channels_alone() -> None:
    body = (
        "\n  g = x -> conv(64, 1) -> pool(avg, global) -> sigmoid\n"
        "  output y = (x -> conv(64, 1)) * g -> conv(64, 3, pad = 1, groups = 64) -> conv(8, 1)\n"
    )
    target = find_target("native")
    graph = plan(body, "9, 6, 6", target)
    x = special(graph, 1)
    found = outputs(stream_all(graph, 3, {0: 2}), x, NATIVE, target)
    np.testing.assert_array_equal(found, outputs(share_memory(graph), x, NATIVE, target))


def test_the_listing_says_so() -> None:
    graph = plan(WIDE.format(1), "16, 8, 8", TARGET)
    algorithm = kernel_of(stream_all(graph, 4, {0: 2})).origin.algorithm
    assert f"in strips of {2 * TARGET.lanes(DType.F32)} channels, " in algorithm


WIDE = "conv(96, 1) -> relu6 -> conv(96, 3, stride = {}, pad = 1, groups = 96) -> conv(24, 1)"


@pytest.mark.parametrize(
    ("stride", "shape", "has_strips"),
    [
        pytest.param(2, "16, 72, 72", True, id="reads-much"),
        pytest.param(2, "16, 112, 112", False, id="keeps-rows"),
        pytest.param(1, "16, 112, 112", False, id="computes-much"),
        pytest.param(2, "16, 112, 8000", False, id="wide-rows"),
    ],
)
def test_where_strips_are_worth_while(stride: int, shape: str, *, has_strips: bool) -> None:
    made = stream_rows(plan(WIDE.format(stride), shape, SERVER), SERVER)
    assert any(stage.strip for op in streamed(made) for stage in op.stages) is has_strips


def test_what_a_stage_before_strips_gives_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bands do not keep rows, as they do by estimate for tensors as large as these."""
    monkeypatch.setattr(offers, "_MUCH", inf)
    graph = plan(f"conv(16, 1) -> relu -> {WIDE.format(2)}", "16, 112, 112", SERVER)
    (op,) = streamed(stream_rows(graph, SERVER))
    assert [bool(stage.strip) for stage in op.stages] == [False, True, False, False]
    assert op.rows >= 7


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_threads_have_enough_of_them(cores: int) -> None:
    """Two stages alone: strips and bands are tasks."""
    body = "conv(192, 1) -> relu -> conv(192, 3, stride = 2, pad = 1, groups = 192)"
    target = replace(SERVER, cores=cores)
    (op,) = streamed(stream_rows(plan(body, "32, 28, 28", target), target))
    strip = op.stages[0].strip
    assert strip
    tasks = 14 // op.rows * (192 // op.stages[0].block // strip)
    assert tasks >= cores
    assert -(-tasks // cores) * cores <= 1.2 * tasks


def test_the_graph_prints_and_reads() -> None:
    graph = stream_all(plan(WIDE.format(2), "16, 8, 8", TARGET), 2, {0: 3})
    text = format_graph(graph)
    assert " by 3 " in text
    assert format_graph(parse_graph(text, large_constants(graph))) == text
