"""Which transposed convolutions `use_subpixel` takes, and what it makes of them."""

from math import prod

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnc
from cnnc.base.dtype import DType
from cnnc.driver import find_target
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Constant, Graph
from cnnc.ir.verify import verify
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.movement.join_phases import JoinPhases
from cnnc.ops.winograd import Winograd
from cnnc.passes.use_subpixel import use_subpixel
from cnnc.passes.use_winograd import use_winograd

TARGETS = ["x86-64-v4", "x86-64-v3", "x86-64", "aarch64"]
TAKEN = [
    ("conv_transpose(1, 9, stride = 3, pad = 4, output_pad = 2)", "56, 12, 16"),
    ("conv_transpose(1, 9, stride = 3, pad = 4)", "6, 5, 1"),
    ("conv_transpose(3, 4, stride = 2, pad = 1, bias = false)", "64, 9, 7"),
    ("conv_transpose(1, 6, stride = 3, pad = same)", "17, 7, 5"),
    ("conv_transpose(1, 8, stride = 4, pad = [[7, 6], [0, 5]], output_pad = [1, 3])", "5, 4, 6"),
    ("conv_transpose(2, [4, 6], stride = [2, 3], pad = [[3, 0], [1, 2]])", "16, 3, 8"),
    ("conv_transpose(1, 16, stride = 8, pad = 4)", "32, 41"),
    ("conv_transpose(2, 4, stride = 4, pad = causal)", "9, 13"),
    ("conv_transpose(1, [2, 4, 2], stride = 2)", "16, 2, 3, 4"),
    ("conv_transpose(2, [5, 4], stride = [1, 4])", "16, 4, 5"),
    ("conv_transpose(1, 4, stride = 4, pad = [[17, 0], [0, 11]])", "16, 6, 7"),
    ("conv_transpose(2, 8, stride = 4, groups = 2)", "16, 9, 7"),
    ("conv_transpose(24, 4, stride = 2, pad = 1, groups = 4)", "16, 9, 7"),
    ("conv_transpose(12, [6, 2], stride = [3, 2], groups = 4, bias = false)", "32, 9, 7"),
    # a single position takes no step: a dense layer, of any number of channels
    ("conv_transpose(64, 4)", "24, 1, 1"),
    ("conv_transpose(32, 5, pad = [[1, 0], [0, 1]])", "24, 1, 1"),
    ("conv_transpose(32, 16, stride = 4, pad = 2)", "24, 1"),
    ("conv_transpose(32, 4, stride = [1, 2], pad = [0, 1])", "24, 1, 6"),
]
NOT_TAKEN = [
    ("conv_transpose(64, 2, stride = 2)", "64, 9, 7"),  # channels fill vectors
    ("conv_transpose(1, 3, stride = 2)", "16, 9, 7"),  # windows would be filled up with zeros
    ("conv_transpose(1, 3, stride = 4)", "16, 9, 7"),
    ("conv_transpose(8, 3, pad = 3)", "16, 9, 7"),  # more is cropped than the window reaches
    ("conv_transpose(1, 4, stride = 4, dilation = 3)", "16, 9, 7"),
    ("conv_transpose(32, 7, stride = 2, pad = same)", "24, 1"),  # most of the window is cropped
    ("conv_transpose(12, 2, stride = 2, groups = 4)", "32, 9, 7"),  # too few sums for the copy
    ("conv_transpose(16, 4, stride = 2, groups = 16)", "16, 9, 7"),  # each channel on its own
    ("conv_transpose(64, 4, stride = 2, groups = 4)", "16, 9, 7"),  # groups fill vectors
]
F32 = NDArray[np.float32]


def net(body: str, shape: str, batch: int = 1) -> cnnc.Model:
    """A net of one input."""
    return cnnc.load_text(
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n  output y = x -> {body}\n"
        "  weights he(seed = 1)\n}\n",
        batch=batch,
    )


def kinds(graph: Graph) -> list[type]:
    """Classes of the operators behind the input."""
    return [type(node.op) for node in graph.nodes if not node.is_leaf]


def drawn(graph: Graph, *, odd: bool = False) -> F32:
    """A value for the input; with `odd`, some of its elements are not finite."""
    shape = graph.inputs[0].type.shape
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if odd:
        x.flat[:: max(2, prod(shape) // 5)] = np.inf
        x.flat[1], x.flat[-1], x.flat[x.size // 2] = np.nan, -np.inf, np.nan
    return x


def assert_close(found: F32, wanted: F32) -> None:
    """Equal up to the rounding of sums in another order."""
    finite = wanted[np.isfinite(wanted)]
    atol = 8e-6 * (np.abs(finite).max() if finite.size else 1)
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=atol)


@pytest.mark.parametrize("target", TARGETS[:2])
@pytest.mark.parametrize(("body", "shape"), TAKEN)
def test_few_channels_are_taken(body: str, shape: str, target: str) -> None:
    graph = net(body, shape).graph
    after = use_subpixel(graph, find_target(target))
    verify(after)
    assert kinds(after) == [Conv, JoinPhases]
    made, given = after.outputs["y"], graph.outputs["y"]
    assert (made.name, made.type, made.span) == (given.name, given.type, given.span)
    conv = made.inputs[0]
    assert [node.name for node in conv.inputs] == [node.name for node in given.inputs]
    assert isinstance(conv.op, Conv)
    assert set(conv.op.stride) == {1}
    for odd in (False, True):
        x = drawn(graph, odd=odd)
        with np.errstate(invalid="ignore"):
            wanted, found = (evaluate(each, {"x": x})["y"] for each in (graph, after))
        assert_close(found.astype(np.float32), wanted.astype(np.float32))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("body", "shape"), NOT_TAKEN)
def test_others_stay(body: str, shape: str, target: str) -> None:
    graph = net(body, shape).graph
    assert use_subpixel(graph, find_target(target)) is graph


TURNED = [
    ("conv_transpose(1, 3, pad = 1)", "16, 9, 7"),
    ("conv_transpose(24, 3, pad = [[1, 0], [2, 1]], bias = false)", "16, 9, 7"),
    ("conv_transpose(64, [2, 3, 2], output_pad = 0)", "16, 5, 4, 3"),
    ("conv_transpose(12, 5, pad = same, groups = 4)", "8, 40"),
    ("conv_transpose(32, 1)", "16, 6, 6"),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("body", "shape"), TURNED)
def test_a_stride_of_one_makes_a_convolution(body: str, shape: str, target: str) -> None:
    graph = net(body, shape).graph
    after = use_subpixel(graph, find_target(target))
    verify(after)
    assert kinds(after) == [Conv]
    for odd in (False, True):
        x = drawn(graph, odd=odd)
        with np.errstate(invalid="ignore"):
            wanted, found = (evaluate(each, {"x": x})["y"] for each in (graph, after))
        assert_close(found.astype(np.float32), wanted.astype(np.float32))


BY_WINOGRAD = [
    ("conv_transpose(64, 4, stride = 2, pad = 1)", "128, 17, 16"),
    ("conv_transpose(64, 4, stride = 2, bias = false)", "64, 32, 15"),
    ("conv_transpose(32, [6, 2], stride = [2, 1], pad = [2, 0])", "64, 30, 20"),
    ("conv_transpose(64, 16, stride = 8, pad = 4)", "64, 301"),
    ("conv_transpose(32, 9, stride = 3, pad = [[5, 1]])", "32, 500"),
]


@pytest.mark.parametrize("target", TARGETS[:2])
@pytest.mark.parametrize(("body", "shape"), BY_WINOGRAD)
def test_phases_of_many_channels_are_taken_for_winograd(body: str, shape: str, target: str) -> None:
    """And are blocks of channels, so that joining them copies vectors."""
    graph, machine = net(body, shape).graph, find_target(target)
    assert use_subpixel(graph, machine, exact=True) is graph
    after = use_subpixel(graph, machine)
    verify(after)
    assert kinds(after) == [Conv, JoinPhases]
    op = after.outputs["y"].op
    assert isinstance(op, JoinPhases)
    assert op.mode == "dcr"
    assert Winograd in kinds(use_winograd(after, machine))
    x = drawn(graph)
    wanted, found = (evaluate(each, {"x": x})["y"] for each in (graph, after))
    assert_close(found.astype(np.float32), wanted.astype(np.float32))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("body", "shape"), BY_WINOGRAD)
def test_compiled_networks_of_many_channels_agree(body: str, shape: str, threads: int) -> None:
    model = net(f"{body} -> relu -> conv(16, 1)", shape, 2)
    compiled = model.compile(threads=threads)
    assert cnnc.diff(compiled).ok
    layouts = [layer.kernel.params[-1].layout for layer in compiled.lowered.layers]
    assert compiled.target.lanes(DType.F32) == 1 or any(layout.block(1) > 1 for layout in layouts)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_weights_that_are_not_finite_stay(bad: float) -> None:
    """What is padded would be multiplied by them."""
    graph = net("conv_transpose(1, 4, stride = 4, pad = 1)", "8, 3, 3").graph

    def spoilt(op: object) -> Constant:
        assert isinstance(op, Constant)
        value = op.value.copy()
        value.flat[3] = bad
        return Constant(value)

    old = graph.outputs["y"].inputs[1]
    new = type(old)(spoilt(old.op), (), old.type, old.name, old.span)
    graph = graph.rebuild(lambda node: new if node is old else node)
    assert use_subpixel(graph, find_target("x86-64-v4")) is graph


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("body", "shape"), TAKEN)
def test_compiled_networks_agree(body: str, shape: str, batch: int, threads: int) -> None:
    """Where NaN and infinities stand too, as no value spreads with `exact`."""
    model = net(f"{body} -> tanh -> clip(-0.9, 0.9)", shape, batch)
    for odd in (False, True):
        x = drawn(model.graph, odd=odd)
        with np.errstate(invalid="ignore"):
            wanted = model.reference(x)["y"]
        compiled = model.compile(threads=threads, exact=True)
        assert_close(compiled(x)["y"], wanted)


def test_what_follows_element_by_element_joins_the_convolution() -> None:
    model = net("conv_transpose(3, 4, stride = 2, pad = 1) -> relu -> tanh", "64, 9, 7")
    layers = model.compile(threads=1).lowered.layers
    labels = [layer.node.op.label for layer in layers if layer.node.name.startswith("y")]
    assert sum("join_phases" in label for label in labels) == 1
    (joined,) = [label for label in labels if "join_phases" in label]
    assert "relu" not in joined
    convolutions = [label for label in labels if "conv(" in label or "winograd(" in label]
    assert any("relu" in label and "tanh" in label for label in convolutions)


def test_a_value_with_other_readers_is_joined_first() -> None:
    model = cnnc.load_text(
        "cnn 1\nnet n {\n  input x: f32[N, 16, 5, 6]\n"
        "  output a = x -> conv_transpose(1, 3, stride = 3)\n  output b = a -> relu\n"
        "  weights he(seed = 1)\n}\n"
    )
    after = use_subpixel(model.graph, find_target("x86-64-v4"))
    assert kinds(after)[:2] == [Conv, JoinPhases]
    assert after.outputs["b"].inputs[0] is after.outputs["a"]
    x = drawn(model.graph)
    found, wanted = model.compile()(x), model.reference(x)
    for name in "ab":
        assert_close(found[name], wanted[name])


@pytest.mark.parametrize(
    "tail",
    ["a -> add(b) -> relu", "a -> conv(7, 3, pad = same)", "[a, b] -> concat", "a -> prelu"],
)
def test_what_follows_reads_rows(tail: str) -> None:
    """A residual, a window with zeros around, a concat, and a pointwise operator with weights."""
    model = cnnc.load_text(
        "cnn 1\nnet n {\n  input x: f32[N, 16, 9, 6]\n"
        "  a = x -> conv_transpose(3, 4, stride = 2, pad = 1)\n"
        "  b = x -> conv(3, 1) -> resize(scale = 2, mode = nearest)\n"
        f"  output y = {tail}\n  output z = b -> relu\n  weights he(seed = 1)\n}}\n"
    )
    compiled = model.compile(exact=True, threads=2)
    assert any("join_phases" in layer.node.op.label for layer in compiled.lowered.layers)
    x = drawn(model.graph)
    assert_close(compiled(x)["y"], model.reference(x)["y"])


def test_batches_of_any_size() -> None:
    text = "cnn 1\nparam N = 1..5\nnet n {\n  input x: f32[N, 16, 9, 6]\n"
    text += "  output y = x -> conv_transpose(3, 4, stride = 2, pad = 1)\n  weights he\n}\n"
    model = cnnc.load_text(text)
    compiled, x = model.compile(threads=2), drawn(model.graph)
    for samples in (1, 3, 5):
        assert_close(compiled(x[:samples])["y"], model.reference(x[:samples])["y"])


def test_shared_weights_keep_their_name() -> None:
    """Both layers' new weights have names of their own, as the old ones stay for the other."""
    graph = net("conv_transpose(1, 3, stride = 3)", "16, 5, 6").graph
    first = graph.outputs["y"]
    second = type(first)(first.op, first.inputs, first.type, "second", first.span)
    both = Graph("n", graph.inputs, {"y": first, "z": second})
    after = use_subpixel(both, find_target("x86-64-v4"))
    verify(after)
    assert len(after.names) == len(after.nodes)
    assert not any(isinstance(node.op, ConvTranspose) for node in after.nodes)


def test_estimates_follow_the_vectors() -> None:
    """Of sixteen lanes two channels fill few, and their phases all."""
    for channels, taken in ((2, True), (4, True), (16, False), (32, False)):
        graph = net(f"conv_transpose({channels}, 4, stride = 2, pad = 1)", "64, 32, 32").graph
        after = use_subpixel(graph, find_target("x86-64-v4"), exact=True)
        assert (after is not graph) == taken
