"""Convolutions in rows: neighbouring positions in the lanes of vectors."""

from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.backends.base import Backend
from cnnc.backends.native.targets import named_target
from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.base.target import Target
from cnnc.compare import diff
from cnnc.compiled import Compiled
from cnnc.frontend.load import Choices as Loading
from cnnc.frontend.load import load_text
from cnnc.ir.graph import Graph, Node
from cnnc.loop.kernel import For, Kind, walk
from cnnc.loop.text import print_kernel
from cnnc.lowering.lower import lower
from cnnc.lowering.lowered import Layer
from cnnc.offers.offer import key_of
from cnnc.offers.rows import OFFER, ROWS, lies_in_rows, may_lie_in_rows
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.spec import Operator
from cnnc.options import Options
from cnnc.passes.assign_layouts import assign_layouts
from cnnc.passes.fuse import fuse
from tests.backends.compilers import BACKENDS, NATIVE
from tests.backends.guarded import check_network
from tests.backends.machines import SCALAR, machine
from tests.backends.streams import special
from tests.backends.support import assert_within, single
from tests.ops.cases import Case, make_case

SAME = Padding("same")
SHAPES: list[tuple[Conv, tuple[int, ...]]] = [
    (Conv(25, (7,), pad=Padding("causal"), dilation=(4,)), (1, 25, 49)),
    (Conv(5, (3,), pad=SAME), (2, 3, 100)),
    (Conv(2, (1,)), (1, 1, 1)),
    (Conv(3, (2,), pad=SAME), (1, 2, 5)),
    (Conv(33, (1,), bias=False), (1, 7, 64)),
    (Conv(9, (4,), pad=Padding(explicit=((3, 5),))), (1, 4, 3)),
    (Conv(12, (3,), pad=SAME), (2, 5, 9, 37)),
    (Conv(7, (3, 5), (2, 1), SAME, (1, 2)), (1, 3, 8, 33)),
    (Conv(6, (1,)), (1, 5, 7, 9)),
    (Conv(6, (1,), pad=Padding(explicit=((1, 2), (0, 3)))), (1, 5, 4, 19)),
    (Conv(3, (2,), (5, 1)), (1, 2, 4, 16)),
    (Conv(5, (2, 3, 2), pad=SAME), (1, 3, 3, 4, 17)),
    (Conv(5, (1,)), (1, 3, 3, 2, 4)),
    (Conv(6, (3,), (2,), SAME), (1, 5, 75)),
    (Conv(5, (3,), (2,), SAME, (2,)), (2, 3, 9, 41)),
    (Conv(3, (1,), (2,)), (1, 4, 1, 33)),
    (Conv(12, (3,), pad=SAME, groups=3), (1, 9, 8, 35)),
    (Conv(12, (3,), (1, 2), SAME, groups=3), (2, 9, 6, 35)),
    (Conv(24, (1,), groups=8), (1, 16, 5, 7)),
    (Conv(14, (3,), pad=SAME, groups=7), (1, 7, 40)),
    (Conv(4, (3,), pad=SAME, groups=4), (1, 12, 3, 18)),
    (Conv(10, (2, 2, 3), (1, 2, 2), SAME, groups=2), (1, 4, 3, 4, 34)),
    (Conv(58, (2,), groups=2), (1, 6, 37)),
    (Conv(6, (3,), (3,), SAME, groups=2), (1, 4, 7, 50)),
    (Conv(82, (3,), pad=SAME, groups=2), (1, 4, 5, 20)),
]
CASES = [make_case(op, [shape]) for op, shape in SHAPES]
NETS = [
    pytest.param("x -> conv(9, 3, pad = same) -> relu -> conv(9, 5, pad = causal)", "3, 70"),
    pytest.param("x + (x -> conv(9, 3, pad = same) -> sigmoid) -> tanh", "9, 50"),
    pytest.param(
        "x -> conv(9, 3, pad = same) -> prelu -> pool(max, 3, stride = 2) -> conv(7, 1)", "3, 70"
    ),
    pytest.param("concat { x -> conv(9, 1) | x -> conv(5, 3, pad = same) } -> relu", "3, 6, 18"),
    pytest.param("x * (x -> conv(9, 1)) -> conv(11, 3, stride = [2, 1], pad = same)", "9, 5, 20"),
    pytest.param(
        "x -> conv(11, 3, pad = same, dilation = 2) -> flatten -> dense(5) -> softmax", "2, 5, 20"
    ),
    pytest.param(
        "x -> conv(6, 3, pad = same) -> batchnorm -> gelu -> transpose([0, 2, 1])", "2, 9"
    ),
]


def in_rows(graph: Graph, tile: str = "") -> Choices:
    """Choices that put all convolutions in rows that may lie so, with the estimates' tiles."""
    chosen = Chosen(Choice.parse(f"{ROWS} tile={tile}" if tile else ROWS))
    keys = (key_of(n, Choices()) for n in graph.nodes if isinstance(n.op, Operator))
    return Choices(dict.fromkeys(keys, chosen))


def net(body: str, shape: str, batch: int = 1) -> Graph:
    """A net of one input."""
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n  output y = {body}\n"
        "  weights he(seed = 3)\n}\n"
    )
    return load_text(SourceFile("n.cnn", text), None, Loading(batch=batch)).graph


def convolutions(graph: Graph, target: Target) -> list[Node]:
    """Those that may lie in rows."""
    nodes = (node for node in graph.nodes if isinstance(node.op, Operator))
    found = [node for node in nodes if may_lie_in_rows(node, target)]
    assert found
    return found


def run(graph: Graph, x: object, backend: Backend, target: Target, threads: int = 1) -> np.ndarray:
    """The result in rows, in memory that was full of an odd number."""
    laid = assign_layouts(graph, target, in_rows(graph))
    assert all(lies_in_rows(node, target) for node in convolutions(laid, target))
    program = lower(laid, target).program
    out = np.full(program.outputs[0].shape, 12345, np.float32)
    backend.compile(program, target, threads).run([np.ascontiguousarray(x, np.float32)], [out])
    return out


def layers_of(graph: Graph, target: Target) -> list[Layer]:
    """The convolutions as they are compiled by estimate, without Winograd's algorithm."""
    lowered, _ = driver.plan(graph, target, exact=True)
    return [layer for layer in lowered.layers if layer.kernel.origin.macs]


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_agrees_with_the_reference(case: Case, backend: Backend, name: str) -> None:
    graph = single(case.op, case.operands[:1], case.operands[1:])
    out = run(graph, case.operands[0], backend, driver.find_target(name), threads=2)
    assert_within(case.op, out, case.op.reference(*case.operands), case.operands)


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("body", "shape"), NETS)
def test_nets_agree_with_those_in_blocks(
    body: str, shape: str, backend: Backend, name: str
) -> None:
    """Copies stand where neighbours lie otherwise; what is not finite stays where it is."""
    target, graph = driver.find_target(name), net(body, shape, batch=2)
    x = special(graph, 1)
    expected = net_in_blocks(graph, x, target)
    out = run(graph, x, backend, target)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def net_in_blocks(graph: Graph, x: object, target: Target) -> np.ndarray:
    """The result with channels in blocks."""
    direct = Chosen(Choice("direct"))
    laid = assign_layouts(graph, target, Choices(dict.fromkeys(in_rows(graph).entries, direct)))
    assert not any(lies_in_rows(node, target) for node in convolutions(laid, target))
    program = lower(laid, target).program
    out = np.full(program.outputs[0].shape, 12345, np.float32)
    NATIVE.compile(program, target, 1).run([np.ascontiguousarray(x, np.float32)], [out])
    return out


@pytest.mark.parametrize("case", [CASES[0], CASES[6], CASES[8], CASES[16]], ids=str)
def test_tiles_and_threads_make_no_difference(case: Case) -> None:
    """Each result is the sum of the same products in the same order."""
    graph, target = single(case.op, case.operands[:1], case.operands[1:]), machine("native")
    laid = assign_layouts(graph, target, in_rows(graph))
    (node,) = convolutions(laid, target)
    found = [each.choice for each in OFFER.candidates(node, target, far=False)]
    assert len(found) > 5
    x, results = np.ascontiguousarray(case.operands[0], np.float32), []
    for number, choice in enumerate(found[:: max(1, len(found) // 7)]):
        choices = Choices(dict.fromkeys(in_rows(graph).entries, Chosen(choice)))
        program = lower(laid, replace(target, cores=number + 1), choices).program
        out = np.full(program.outputs[0].shape, 12345, np.float32)
        NATIVE.compile(program, target, number + 1).run([x], [out])
        results.append(out)
    for each in results[1:]:
        np.testing.assert_array_equal(each, results[0])


@pytest.mark.parametrize("name", ["native", "x86-64-v3"])
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("x -> conv(25, 7, pad = causal) -> relu -> conv(25, 7, pad = causal)", "1, 163"),
        ("x -> conv(6, 3, groups = 3) -> relu -> conv(6, 2, stride = 2, groups = 3)", "3, 9, 45"),
        ("x -> conv(9, [2, 3], groups = 3, stride = [1, 2])", "3, 4, 69"),
    ],
)
def test_nothing_beyond_its_memory_is_touched(body: str, shape: str, name: str) -> None:
    graph, target = net(body, shape), driver.find_target(name)
    assert all(lies_in_rows(layer.node, target) for layer in layers_of(graph, target))
    check_network(graph, name, 1)


@pytest.mark.parametrize(
    ("channels", "length", "tasks"), [(203, 48, 25), (37, 48, 4), (25, 784, 24), (12, 4096, 128)]
)
def test_threads_share_channels_where_there_are_few_positions(
    channels: int, length: int, tasks: int
) -> None:
    graph = net(f"x -> conv({channels}, 9, pad = same)", f"{channels}, {length}")
    target = named_target("x86-64-v4")
    (layer,) = layers_of(graph, target)
    assert lies_in_rows(layer.node, target)
    loops = [stmt for stmt in walk(layer.kernel.body) if isinstance(stmt, For)]
    assert tasks in [loop.extent for loop in loops if loop.kind is Kind.PARALLEL]


@pytest.mark.parametrize("shape", ["20, 1, 40", "20, 38, 1", "10, 7, 5, 1", "10, 1, 1", "64, 9, 1"])
@pytest.mark.parametrize(
    "body",
    [
        "x -> add { conv(CHANNELS, 1) | id } -> relu",
        "x -> mul { conv(CHANNELS, 1, groups = 2) -> sigmoid | id }",
        "x -> mul { conv(CHANNELS, 1) | pool(avg, global) }",
    ],
)
def test_axes_of_extent_one(body: str, shape: str) -> None:
    graph = net(body.replace("CHANNELS", shape.split(",")[0]), shape)
    for choices in (Choices(), in_rows(graph)):
        lowered = lower(assign_layouts(fuse(graph), machine("native"), choices), machine("native"))
        assert lowered.layers
    report = diff(Compiled(graph, Options()))
    assert report.ok, report.format()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "body",
    [
        "x -> pool(avg, 9) -> conv(24, 1, groups = 3) -> relu -> conv(16, 3, pad = same)",
        "x -> conv(24, 3, pad = [[1, 1], [0, 2]]) -> pool(max, 9) -> conv(9, 1, groups = 3)",
    ],
)
def test_a_single_position_may_have_zeros_around_it(body: str, batch: int) -> None:
    """Rows of a map with a halo do not follow each other, even where there is only one."""
    report = diff(Compiled(net(body, "24, 9, 9", batch), Options()))
    assert report.ok, report.format()


@pytest.mark.parametrize("name", ["x86-64-v4", "x86-64-v3"])
def test_they_are_taken_where_channels_leave_lanes_empty(name: str) -> None:
    target = named_target(name)
    series = net("x -> conv(25, 7, pad = same) -> relu -> conv(25, 7, pad = same)", "1, 784")
    assert [lies_in_rows(layer.node, target) for layer in layers_of(series, target)] == [True] * 2
    whole = net("x -> conv(32, 7, pad = same) -> relu -> conv(32, 7, pad = same)", "1, 784")
    assert not any(lies_in_rows(layer.node, target) for layer in layers_of(whole, target))


def test_they_are_not_taken_where_copies_cost_more() -> None:
    """Between layers in blocks, a short sum gains less than copies there and back take."""
    target = named_target("x86-64-v4")
    graph = net("x -> conv(64, 1) -> conv(25, 1) -> conv(64, 3, stride = 2)", "64, 784")
    assert not any(lies_in_rows(layer.node, target) for layer in layers_of(graph, target))


def test_without_vectors_there_are_no_rows_of_lanes() -> None:
    graph = net("x -> conv(25, 7, pad = same) -> relu -> conv(25, 7, pad = same)", "1, 784")
    target = machine(SCALAR)
    assert not any(may_lie_in_rows(layer.node, target) for layer in layers_of(graph, target))


@pytest.mark.parametrize(
    "tile", ["1", "2x26", "2x1x26", "50x1x1", "4x1x13", "2x2x7", "1x1x1x1"],
)  # fmt: skip
def test_what_is_not_possible(tile: str) -> None:
    """It is refused, where it is written."""
    graph = net("x -> conv(25, 7, pad = same)", "4, 784")
    text = f"{ROWS} tile={tile}"
    span = SourceFile("n.tune", f"# {text}\n").span(2, 2 + len(text))
    choices = Choices(dict.fromkeys(in_rows(graph).entries, Chosen(Choice.parse(text), span)))
    with pytest.raises(UserError) as caught:
        driver.plan(graph, named_target("x86-64-v4"), choices=choices)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.span) == ("E0805", span)


def test_the_form_is_printed() -> None:
    layers = layers_of(net("x -> conv(25, 7, pad = same)", "1, 784"), named_target("x86-64-v4"))
    assert layers[0].kernel.origin.algorithm == "in rows, tile 2×13"
    assert "for oc.1 in 13 unrolled" in print_kernel(layers[0].kernel)


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize(
    "body", ["reduce(sum, axes = [1, 2])", "flatten -> dense(1) -> reshape([0])"]
)
def test_results_without_channels(body: str, units: int) -> None:
    """What reads a convolution that may lie in rows need have none itself."""
    text = f"cnn 1\nnet n {{\n  input x: f32[N, 3, 8]\n  output y = x -> conv(4, 3) -> {body}\n"
    graph = cnnc.load_text(f"{text}  weights he\n}}\n", batch=(1, 40)).graph
    target = replace(driver.find_target("x86-64-v4"), vector_units=units)
    made = driver.optimise(graph, driver.pipeline(target))
    assert made.outputs["y"].type.rank == 1
