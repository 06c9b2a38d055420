"""Which convolutions `use_winograd` takes, and what it makes of them."""

from dataclasses import replace

import numpy as np
import pytest

from cnnc import driver
from cnnc.base.source import SourceFile
from cnnc.base.target import Target
from cnnc.driver import find_target
from cnnc.frontend.load import load_text
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Graph
from cnnc.ir.verify import verify
from cnnc.offers.far import are_far
from cnnc.offers.winograd import are_transformed_far
from cnnc.ops.conv import Conv
from cnnc.ops.winograd import Winograd
from cnnc.passes.use_winograd import use_winograd


def net(body: str, shape: str = "64, 28, 28") -> Graph:
    """A net of one input."""
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n"
        f"  output y = {body}\n  weights he(seed = 1)\n}}\n"
    )
    return load_text(SourceFile("n.cnn", text), None).graph


def kinds(graph: Graph) -> list[type]:
    """Classes of the operators that have parameters."""
    return [type(node.op) for node in graph.nodes if isinstance(node.op, Conv | Winograd)]


@pytest.mark.parametrize("target", ["native", "x86-64-v4", "x86-64-v3", "x86-64", "aarch64"])
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("x -> conv(64, 3, pad = same)", "64, 28, 28"),
        ("x -> conv(64, 3)", "64, 57, 31"),
        ("x -> conv(96, 3, pad = [2], bias = false)", "33, 28, 28"),
        ("x -> conv(64, 3, pad = causal)", "64, 2048"),
        ("x -> conv(64, 2, pad = causal, dilation = 64)", "64, 2048"),
        ("x -> conv(64, 3, pad = 4, dilation = 4)", "64, 33, 33"),
        ("x -> conv(64, [3, 1])", "64, 28, 28"),
        ("x -> conv(64, [1, 5])", "64, 28, 28"),
        ("x -> conv(64, 5, pad = same)", "64, 28, 28"),
        ("x -> conv(64, [2, 4], dilation = [1, 3])", "64, 28, 28"),
        ("x -> conv(64, 7, pad = same)", "64, 28, 28"),
        ("x -> conv(64, 11, pad = same, dilation = 5)", "64, 2048"),
        ("x -> conv(64, [1, 7], pad = same)", "64, 28, 28"),
        ("x -> conv(64, 5, stride = 2, pad = 2)", "64, 57, 28"),
        ("x -> conv(64, 7, stride = [2, 3])", "32, 40, 63"),
        ("x -> conv(128, 8, stride = 4, pad = 2)", "64, 2048"),
    ],
)
def test_windows_of_few_taps_are_taken(body: str, shape: str, target: str) -> None:
    graph = net(body, shape)
    after = use_winograd(graph, find_target(target))
    verify(after)
    assert kinds(after) == [Winograd]
    made, given = after.outputs["y"], graph.outputs["y"]
    assert (made.name, made.type, made.span) == (given.name, given.type, given.span)
    assert [node.name for node in made.inputs] == [node.name for node in given.inputs]
    x = np.random.default_rng(0).standard_normal(graph.inputs[0].type.shape).astype(np.float32)
    wanted, found = (evaluate(each, {"x": x})["y"] for each in (graph, after))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("x -> conv(64, 3, stride = 2, pad = same)", "64, 28, 28"),
        ("x -> conv(64, 3, groups = 2)", "64, 28, 28"),
        ("x -> conv(64, 7, pad = same)", "60, 28, 28"),
        ("x -> conv(64, 31, pad = same)", "64, 56, 56"),
        ("x -> conv(64, 5, stride = 2)", "20, 57, 57"),
        ("x -> conv(64, 1, stride = 2)", "64, 28, 28"),
        ("x -> conv(64, 3, dilation = 24, pad = 24)", "64, 17, 17"),
        ("x -> conv(64, 1)", "64, 28, 28"),
        ("x -> conv(64, 3, pad = same)", "64, 8, 8, 8"),
        ("x -> conv(2, 3, pad = same)", "64, 28, 28"),
        ("x -> conv(64, 3, pad = same)", "3, 28, 28"),
        ("x -> conv(64, 3)", "64, 3, 3"),
        # only tiles of eight points would take no more memory than they may
        ("x -> conv(64, 13, pad = same)", "64, 32, 400"),
    ],
)
def test_others_stay(body: str, shape: str) -> None:
    graph = net(body, shape)
    assert use_winograd(graph, find_target("x86-64-v4")) is graph


@pytest.mark.parametrize(
    ("channels", "size", "points"),
    [
        pytest.param(16, 8, 6, id="sums of a tile fill the wait of the one before"),
        pytest.param(32, 4, 4, id="weights would arrive too slowly for a single tile"),
    ],
)
def test_short_sums_of_few_tiles(channels: int, size: int, points: int) -> None:
    graph = net(f"x -> conv({channels}, 3, pad = same)", f"{channels}, {size}, {size}")
    made = use_winograd(graph, find_target("x86-64-v4")).outputs["y"].op
    assert isinstance(made, Winograd)
    assert max(made.tile) == points


@pytest.mark.parametrize(
    ("body", "shape", "points"),
    [
        pytest.param("conv(256, 3, pad = same)", "256, 56, 56", 8, id="a large map"),
        pytest.param("conv(64, 5, pad = same)", "64, 28, 28", 8, id="four results, not two"),
        pytest.param("conv(64, 3, pad = same)", "64, 56, 56", 6, id="gains little"),
        pytest.param("conv(256, 3, pad = same)", "256, 15, 15", 6, id="three results need all"),
        pytest.param("conv(512, 3, pad = same)", "512, 28, 28", 6, id="weights come from memory"),
        pytest.param("conv(128, 3, pad = same)", "128, 28, 28", 6, id="few tiles for many cores"),
        pytest.param("conv(1024, 3, pad = same)", "1024, 56, 56", 6, id="too large weights"),
    ],
)
def test_large_tiles_are_taken_where_they_gain_much(body: str, shape: str, points: int) -> None:
    """They round more."""
    target = replace(find_target("x86-64-v4"), vector_units=1, l2_bytes=1 << 20, l3_bytes=32 << 20)
    (op,) = _made(net(f"x -> {body}", shape), target)
    assert max(op.tile) == points


def test_far_weights_for_few_results_stay() -> None:
    """Four times the weights from memory cost more than the products that are saved."""
    graph = net("x -> conv(1024, 3, pad = same)", "1024, 4, 4")
    assert use_winograd(graph, find_target("x86-64-v4")) is graph


@pytest.mark.parametrize(("layers", "points"), [(1, 6), (8, 4)])
def test_what_fits_the_caches_only_before_it_is_transformed_is_far(
    layers: int, points: int
) -> None:
    """Eight layers have 29 MB of weights, which F(4, 3) would make 118 MB."""
    target = replace(find_target("x86-64-v4"), l2_bytes=1 << 20, l3_bytes=32 << 20)
    graph = net(" -> ".join(["x", *["conv(320, 3, pad = same)"] * layers]), "320, 7, 7")
    assert not are_far(graph, target)
    assert are_transformed_far(graph, target) == (layers == 8)
    assert [max(op.tile) for op in _made(graph, target)] == [points] * layers


@pytest.mark.parametrize(("far", "points"), [(False, 6), (True, 4)])
def test_weights_from_memory_are_not_doubled_for_little(far: bool, points: int) -> None:
    """By the estimate for one thread both tiles are as fast there; others share what arrives."""
    target = replace(find_target("x86-64-v4"), vector_units=2, l2_bytes=1 << 20, l3_bytes=32 << 20)
    graph = net("x -> conv(256, 3, pad = same)", "256, 14, 14")
    made = use_winograd(graph, target, far=far).outputs["y"].op
    assert isinstance(made, Winograd)
    assert max(made.tile) == points


def test_shared_weights_are_transformed_for_each_reader() -> None:
    graph = net("x -> conv(64, 3, pad = same) -> conv(64, 3, pad = same)")
    first, second = (node for node in graph.nodes if isinstance(node.op, Conv))
    shared = replace(second, inputs=(second.inputs[0], *first.inputs[1:]))
    graph = replace(graph, outputs={"y": shared})
    after = use_winograd(graph, find_target("x86-64-v4"))
    verify(after)
    assert kinds(after) == [Winograd, Winograd]


@pytest.mark.parametrize("cores", [2, 3, 4])
@pytest.mark.parametrize("channels", [192, 208, 224, 256])
@pytest.mark.parametrize("extent", [14, 28, 56, 30])
def test_every_core_gets_work(extent: int, channels: int, cores: int) -> None:
    """The last core is done not much later than if the work could be divided at will."""
    body, shape = f"x -> conv({channels}, 3, pad = same)", f"64, {extent}, {extent}"
    target = replace(find_target("x86-64-v4"), cores=cores)
    (op,) = _made(net(body, shape), target)
    results = max(op.tile) - 2
    tiles = -(-extent // results)
    full, rest = divmod(tiles, op.rows)
    if not rest and extent % results:
        full, rest = full - 1, op.rows
    loads = [0] * cores
    nests = [each for each in ((full, op.rows), (1, rest)) if all(each)]
    for number, (count, size) in enumerate(nests):
        for task in range(count * op.parts):
            core = next(c for c in range(cores) if task < count * op.parts * (c + 1) // cores)
            loads[cores - 1 - core if number else core] += size
    assert max(loads) * cores <= 1.5 * tiles * op.parts


@pytest.mark.parametrize("channels", [64, 96, 208, 224])
@pytest.mark.parametrize("extent", [7, 14, 30])
def test_the_algorithm_does_not_depend_on_the_cores(extent: int, channels: int) -> None:
    """Nor do results then, bit for bit; on one core nothing is transformed twice."""
    graph = net(f"x -> conv({channels}, 3, pad = same)", f"64, {extent}, {extent}")
    target = find_target("x86-64-v4")
    made = [_made(graph, replace(target, cores=cores)) for cores in (1, 2, 3, 16)]
    assert len({tuple(op.tile for op in found) for found in made}) == 1
    assert all(op.parts == 1 for op in made[0])


def _made(graph: Graph, target: Target) -> list[Winograd]:
    after = use_winograd(graph, target)
    return [node.op for node in after.nodes if isinstance(node.op, Winograd)]


def test_exact_leaves_it_out() -> None:
    target = find_target("x86-64-v4")
    graph = net("x -> conv(64, 3, pad = same) -> relu")
    names = [each.name for each in driver.pipeline(target)]
    assert "use-winograd" in names
    assert "use-winograd" not in [each.name for each in driver.pipeline(target, exact=True)]
    assert kinds(driver.optimise(graph, driver.pipeline(target, exact=True))) == []


@pytest.mark.parametrize("target", ["x86-64-v4", "x86-64-v3", "x86-64", "aarch64"])
@pytest.mark.parametrize("extent", [8, 24])
def test_any_number_of_channels_can_be_scheduled(extent: int, target: str) -> None:
    """Fewer than a vector, a few more, and what leaves an odd rest."""
    machine = find_target(target)
    for channels in (1, 2, 3, 5, 6, 7, 9, 12, 15, 17, 20, 33):
        graph = net("x -> conv(32, 3, pad = same)", f"{channels}, {extent}, {extent}")
        driver.lower_graph(driver.optimise(graph, driver.pipeline(machine)), machine)


def test_a_sample_that_is_apart_is_transformed_once() -> None:
    """Threads share whole samples: a part for each thread would transform the input again."""
    target = replace(find_target("x86-64-v4"), cores=4)
    graph = net("x -> conv(256, 3, pad = same) -> conv(256, 3, pad = same)", "256, 14, 14")
    for is_apart in (False, True):
        after = use_winograd(replace(graph, is_apart=is_apart), target)
        parts = [node.op.parts for node in after.nodes if isinstance(node.op, Winograd)]
        assert len(parts) == 2
        assert (max(parts) == 1) is is_apart
