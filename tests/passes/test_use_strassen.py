"""Which convolutions `use_strassen` takes, and what it makes of them."""

from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.base.target import Target
from cnnc.driver import find_target
from cnnc.frontend.load import load_text
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.offers.offer import key_of, root_of
from cnnc.ops.strassen import Strassen

TARGETS = ("native", "x86-64-v4", "x86-64-v3", "x86-64", "aarch64")


def net(body: str, shape: str = "256, 14, 14") -> Graph:
    """A net of one input."""
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n"
        f"  output y = {body}\n  weights he(seed = 1)\n}}\n"
    )
    return load_text(SourceFile("n.cnn", text), None).graph


def optimised(graph: Graph, target: Target, *, exact: bool = False, **more: object) -> Graph:
    """The graph after all passes."""
    return driver.optimise(graph, driver.pipeline(target, exact=exact, **more))  # type: ignore[arg-type]


def taken(graph: Graph) -> list[Node]:
    """Layers that the algorithm computes."""
    layers = [node for node in graph.nodes if not node.is_leaf]
    return [node for node in layers if isinstance(root_of(node)[0], Strassen)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("x -> conv(512, 1)", "512, 14, 28"),
        ("x -> conv(512, 1)", "512, 15, 56"),
        ("x -> conv(512, 1)", "512, 16, 27"),
        ("x -> conv(640, 1, bias = false)", "512, 8, 56"),
        ("x -> conv(512, 1) -> relu", "768, 8, 56"),
        ("x -> conv(512, 1, pad = same) -> add(x) -> relu", "512, 16, 44"),
        (
            "x -> conv(512, 1, dilation = 2) -> conv(512, 3, pad = same, groups = 512)",
            "512, 12, 40",
        ),
        ("x -> conv_transpose(512, 1)", "512, 14, 28"),
        ("x -> conv(512, 1, stride = 2)", "512, 56, 56"),
        ("x -> conv(640, 1, stride = [2, 1], bias = false) -> relu", "512, 55, 28"),
    ],
)
def test_products_of_many_channels_are_taken(body: str, shape: str, target: str) -> None:
    graph = net(body, shape)
    after = optimised(graph, find_target(target))
    assert len(taken(after)) == 1
    x = np.random.default_rng(0).standard_normal(graph.inputs[0].type.shape).astype(np.float32)
    wanted, found = (evaluate(each, {"x": x})["y"] for each in (graph, after))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
    assert not taken(optimised(graph, find_target(target), exact=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("x -> conv(256, 1)", "256, 15, 15"),
        ("x -> conv(256, 1, stride = 2)", "256, 14, 14"),
        ("x -> conv(256, 1, stride = [2, 1])", "256, 14, 15"),
        ("x -> conv(256, 1, groups = 2)", "256, 14, 14"),
        ("x -> conv(256, 1, pad = 1)", "256, 14, 14"),
        ("x -> conv(256, [1, 2])", "256, 14, 14"),
        ("x -> conv(272, 1)", "272, 14, 14"),
        ("x -> conv(256, 1)", "250, 14, 14"),
        ("x -> conv(16, 1)", "256, 14, 14"),
        ("x -> conv(256, 1)", "16, 14, 14"),
        ("x -> conv(256, 1)", "256, 196"),
        ("x -> conv(256, 1)", "256, 1, 16384"),
        ("x -> flatten -> dense(64)", "256, 2, 2"),
    ],
)
def test_others_are_not(body: str, shape: str, target: str) -> None:
    if "272" in body and target in ("x86-64", "x86-64-v3", "aarch64"):
        pytest.skip("halves of 272 channels are whole vectors there")
    assert not taken(optimised(net(body, shape), find_target(target)))


@pytest.mark.parametrize("target", ["cortex-m55", "cortex-m4", "riscv32", "cuda"])
def test_small_machines_and_gpus_keep_the_convolution(target: str) -> None:
    """Weights are nearly twice as large."""
    assert not taken(optimised(net("x -> conv(256, 1)"), find_target(target)))


@pytest.mark.parametrize(
    ("cache", "names"), [(1_600_000, ["y.conv"]), (2_800_000, ["y.conv", "y.conv_1"])]
)
def test_weights_of_some_layers_move_those_of_others_out_of_the_cache(
    cache: int, names: list[str]
) -> None:
    """Then all are asked again: far from it, theirs take longer to arrive."""
    graph = net("x -> conv(512, 1) -> conv(512, 1)", "256, 14, 20")
    weights = sum(node.type.bytes for node in graph.nodes if isinstance(node.op, Constant))
    assert weights < cache
    target = replace(find_target("x86-64-v3"), l2_bytes=256 << 10, l3_bytes=cache)
    assert [node.name for node in taken(optimised(graph, target))] == names


def test_a_weight_that_is_read_twice_keeps_its_name() -> None:
    graph = net("x -> conv(512, 1)", "512, 8, 56")
    conv = graph.outputs["y"]
    both = Graph(graph.name, graph.inputs, {"y": conv, "w": conv.inputs[1]})
    after = optimised(both, find_target("x86-64-v4"))
    (made,) = taken(after)
    assert made.inputs[1].name != conv.inputs[1].name
    np.testing.assert_array_equal(
        evaluate(after, {"x": np.zeros(graph.inputs[0].type.shape, np.float32)})["w"],
        np.asarray(conv.inputs[1].op.value),  # type: ignore[union-attr]
    )


def test_a_bit_is_the_same_for_any_number_of_cores() -> None:
    graph = net("x -> conv(256, 1) -> conv(512, 1) -> conv(16, 1)", "256, 28, 28")
    target = find_target("x86-64-v3")
    names = {
        cores: [node.name for node in taken(optimised(graph, replace(target, cores=cores)))]
        for cores in (1, 2, 3, 8)
    }
    assert len(names[1]) == 2
    assert all(each == names[1] for each in names.values())


@pytest.mark.parametrize(
    ("body", "shape", "cores", "rows", "parts"),
    [
        pytest.param("conv(512, 1)", "512, 14, 14", 2, 7, 1, id="a band for each"),
        pytest.param("conv(512, 1)", "512, 14, 14", 4, 7, 2, id="two share a band"),
        pytest.param("conv(512, 1)", "512, 14, 14", 7, 2, 1, id="bands of two rows"),
        pytest.param("conv(256, 1)", "512, 16, 27", 16, 2, 2, id="none is left idle"),
        pytest.param("conv(256, 1)", "128, 13, 26", 2, 1, 2, id="half of a row"),
        pytest.param("conv(512, 1, stride = 2)", "512, 56, 56", 4, 7, 1, id="a stride"),
    ],
)
def test_threads_share_rows_or_channels(
    body: str, shape: str, cores: int, rows: int, parts: int
) -> None:
    """Those that share channels each read what all of them wrote."""
    caches = {"l1_bytes": 48 << 10, "l2_bytes": 1 << 20, "l3_bytes": 32 << 20}
    target = replace(find_target("x86-64-v4"), vector_units=2, cores=cores, **caches)
    (made,) = taken(optimised(net(f"x -> {body}", shape), target))
    root, _ = root_of(made)
    assert isinstance(root, Strassen)
    assert (root.rows, root.parts) == (rows, parts)


def test_a_choice_is_taken_or_refused() -> None:
    target = find_target("x86-64-v4")
    graph = net("x -> conv(64, 1)", "64, 14, 14")
    assert not taken(optimised(graph, target))
    facts = ""
    key = key_of(graph.outputs["y"], Choices({}, facts))

    def chosen(**sizes: int | tuple[int, ...]) -> Choices:
        numbers = {name: (size,) if isinstance(size, int) else size for name, size in sizes.items()}
        return Choices({key: Chosen(Choice("strassen", tuple(numbers.items())))}, facts)

    for rows, tile in [(2, (1, 7)), (7, (2, 4)), (1, (1, 3)), (14, (2, 7))]:
        (made,) = taken(optimised(graph, target, choices=chosen(rows=rows, at_once=16, tile=tile)))
        root, _ = root_of(made)
        assert isinstance(root, Strassen)
        assert (root.rows, root.channels_at_once, root.register_tile) == (rows, 16, tile)
    for wrong, why in [
        ({"rows": 3, "at_once": 16, "tile": (1, 7)}, "bands of 3"),
        ({"rows": 4, "at_once": 16, "tile": (1, 7)}, "bands of 4"),
        ({"rows": 2, "at_once": 64, "tile": (1, 7)}, "2 blocks of 16"),
        ({"rows": 2, "at_once": 20, "tile": (1, 7)}, "blocks of 16"),
        ({"rows": 2, "at_once": 16, "tile": (1, 8)}, "7 columns"),
        ({"rows": 2, "at_once": 32, "tile": (1, 0)}, "7 columns"),
        ({"rows": 1, "at_once": 16, "tile": (2, 7)}, "1 rows at most"),
        ({"rows": 14, "at_once": 16, "tile": (3, 7)}, "2 rows at most"),
        ({"rows": 14, "at_once": 16, "tile": (0, 7)}, "2 rows at most"),
        ({"rows": 2, "at_once": 0, "tile": (1, 7)}, "blocks of 16"),
        ({"rows": 2, "at_once": 16}, "it needs rows, at_once and tile"),
        ({"rows": 2, "at_once": 16, "columns": 7}, "it needs rows, at_once and tile"),
        ({"rows": 2, "at_once": 16, "tile": (7,)}, "it needs rows, at_once and tile"),
    ]:
        with pytest.raises(UserError, match=why):
            optimised(graph, target, choices=chosen(**wrong))
    for odd in (
        net("x -> conv(64, 1)", "64, 15, 13"),
        net("x -> conv(64, 1, stride = 2)", "64, 14, 14"),
    ):
        key = key_of(odd.outputs["y"], Choices({}, facts))
        with pytest.raises(UserError, match="even number of rows or columns of the result"):
            optimised(odd, target, choices=chosen(rows=2, at_once=16, tile=(1, 7)))
    half = net("x -> conv(64, 1, stride = 2)", "64, 27, 14")
    key = key_of(half.outputs["y"], Choices({}, facts))
    for rows, columns, why in [(2, 8, "7 columns"), (7, 7, "bands of pairs")]:
        with pytest.raises(UserError, match=why):
            optimised(half, target, choices=chosen(rows=rows, at_once=16, tile=(1, columns)))


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("x -> conv(256, 1) -> relu -> pool(max, 2)", "128, 56, 56"),
        ("x -> conv(256, 1) -> sigmoid -> conv(64, 1) -> add(x)", "64, 56, 56"),
        ("x -> conv(128, 1) -> conv(32, 3, pad = same)", "512, 28, 28"),
    ],
)
def test_layers_that_some_numbers_of_cores_compute_together_have_the_same_bits(
    body: str, shape: str
) -> None:
    """What cores stream decides about no algorithm."""
    model = cnnc.load_text(
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n  output y = {body}\n  weights he\n}}\n"
    )
    x = np.random.default_rng(1).standard_normal(model.graph.inputs[0].type.shape)
    first, *others = [
        model.compile(threads=threads)(x.astype(np.float32))["y"] for threads in (1, 2, 3, 4)
    ]
    assert all(np.array_equal(first, other) for other in others)


def weighted(weight: np.ndarray) -> Graph:
    """A convolution with these weights that would gain."""
    graph = net("x -> conv(512, 1, bias = false)", "512, 14, 28")
    old = graph.outputs["y"]
    constant = replace(old.inputs[1], op=Constant(weight))
    return replace(graph, outputs={"y": replace(old, inputs=(old.inputs[0], constant))})


@pytest.mark.parametrize("place", [(slice(None), 300), (300, slice(None)), (5, 7)], ids=str)
@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e37, 100.0, 0.001, 0.0])
def test_channels_that_differ_much_are_not_mixed(place: tuple[object, ...], factor: float) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((512, 512, 1, 1)).astype(np.float32)
    assert taken(optimised(weighted(weight), find_target("x86-64-v3")))
    weight[place] *= np.float32(factor)
    is_alike = place == (5, 7) and factor < 1000
    assert bool(taken(optimised(weighted(weight), find_target("x86-64-v3")))) == is_alike


def test_empty_channels_are_alike() -> None:
    weight = np.random.default_rng(0).standard_normal((512, 512, 1, 1)).astype(np.float32)
    weight[[3, 259]] = 0
    assert taken(optimised(weighted(weight), find_target("x86-64-v3")))


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_samples_that_stay_together_decide_about_no_algorithm(samples: int) -> None:
    """Estimates are of all of them."""
    model = cnnc.load_text(
        "cnn 1\nnet n {\n  input x: f32[N, 512, 14, 28]\n"
        "  output y = x -> conv(512, 1)\n  weights he\n}\n"
    )
    target = find_target("x86-64-v3")
    passes = [each for each in driver.pipeline(target) if each.name != "take-apart"]
    after = driver.optimise(model.with_batch(samples).graph, passes)
    assert not after.is_apart
    assert len(taken(after)) == 1
