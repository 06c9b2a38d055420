"""Which layers `stream_rows` joins."""

from dataclasses import replace

import pytest

from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.base.source import SourceFile
from cnnc.driver import find_target, optimise, pipeline
from cnnc.frontend.load import load_text
from cnnc.ir.graph import Graph
from cnnc.ir.text import format_graph, large_constants
from cnnc.ir.verify import verify
from cnnc.offers.direct import choose_form
from cnnc.offers.offer import key_of
from cnnc.ops.fused import Fused
from cnnc.ops.graph_text import parse_graph
from cnnc.ops.streamed import Streamed
from cnnc.passes.stream_rows import lines, stream_rows, streaming

TARGET = replace(find_target("x86-64-v4"), l2_bytes=1 << 19)
DEPTHWISE = "x -> conv(32, 1) -> conv(32, 3, pad = same, groups = 32) -> relu -> conv(48, 1)"


def before(body: str, shape: str = "16, 112, 112") -> Graph:
    """A net as the pass finds it."""
    text = f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n{body}\n  weights he(seed = 1)\n}}\n"
    graph = load_text(SourceFile("n.cnn", text), None).graph
    later = ("stream-rows", "share-memory")
    return optimise(graph, [each for each in pipeline(TARGET) if each.name not in later])


def joined(graph: Graph) -> list[str]:
    """The stages of all nodes that the pass makes, by the names of their operators."""
    after = stream_rows(graph, TARGET)
    verify(after)
    assert {n: node.type for n, node in after.outputs.items()} == {
        n: node.type for n, node in graph.outputs.items()
    }
    made = [node.op for node in after.nodes if isinstance(node.op, Streamed)]
    roots = [[s.op.root if isinstance(s.op, Fused) else s.op for s in op.stages] for op in made]
    return [" ".join(root.name for root in stages) for stages in roots]


def test_what_leaves_the_caches_is_joined() -> None:
    found = joined(before(f"  output y = {DEPTHWISE}"))
    assert any("conv conv" in each for each in found)


@pytest.mark.parametrize("cores", [1, 2])
def test_who_streams_is_known_before(cores: int) -> None:
    """Of lines that have a node in question, all that the pass joins; of the others nothing."""
    target = replace(TARGET, cores=cores)
    graph = before(f"  output y = {DEPTHWISE}\n  output z = x -> conv(32, 1) -> conv(16, 3)")
    nodes = [node for node in graph.nodes if not node.is_leaf]
    after = {node.name: node for node in stream_rows(graph, target).nodes}
    found = streaming(nodes, graph, target)
    names = {node.name for node in found}
    assert names >= {node.name for node in nodes} - after.keys()
    assert {name for name in names if name in after} == {
        name for name, node in after.items() if isinstance(node.op, Streamed)
    }
    assert streaming([], graph, target) == set()
    line, *_ = (line for line in lines(graph, target) if not found.isdisjoint(line))
    assert streaming(line[:1], graph, target) == found & set(line)


def test_a_first_layer_takes_the_copy_of_the_image_along() -> None:
    body = "  output y = x -> conv(32, 3, stride = 2, pad = 1) -> relu -> pool(max, 2)"
    found = joined(before(body, "3, 416, 416"))
    assert found[0].startswith("repack conv pool")


DENSE_LAYER = """  p = x -> conv(32, 3)
  output y = (p -> batchnorm -> relu -> conv(16, 1) -> conv(8, 3, pad = 1)) + (p -> conv(8, 1))"""


def test_an_element_wise_layer_is_joined_with_the_convolution_behind_it() -> None:
    assert any("mul conv" in each for each in joined(before(DENSE_LAYER)))


def test_an_element_wise_layer_stays_alone_on_one_thread_if_the_cache_holds_its_result() -> None:
    graph = before(DENSE_LAYER, "16, 62, 62")
    for cores, is_joined in ((1, False), (2, True)):
        after = stream_rows(graph, replace(TARGET, cores=cores))
        assert any(isinstance(node.op, Streamed) for node in after.nodes) is is_joined


def test_what_stays_in_the_caches_is_not_joined() -> None:
    graph = before(f"  output y = {DEPTHWISE}", "16, 28, 28")
    assert stream_rows(graph, TARGET) is graph


BOTTLENECK = (
    "x -> conv(16, 1) -> conv(96, 1) -> relu6"
    " -> conv(96, 3, stride = 2, pad = 1, groups = 96) -> relu6 -> conv(24, 1)"
)


def in_runs(shape: str, cores: int) -> list[Streamed]:
    """What keeps rows for the next band."""
    after = stream_rows(before(f"  output y = {BOTTLENECK}", shape), replace(TARGET, cores=cores))
    return [node.op for node in after.nodes if isinstance(node.op, Streamed) and node.op.runs]


@pytest.mark.parametrize(
    ("rows", "cores"), [(56, 1), (56, 2), (60, 3), (56, 4), (60, 6), (80, 8)], ids=str
)
def test_bands_keep_rows_of_what_is_much_larger_than_the_cache(rows: int, cores: int) -> None:
    """In a run of several bands for each core."""
    (op,) = in_runs(f"16, {2 * rows}, 112", cores)
    assert op.runs == cores
    assert rows // op.rows >= 2 * op.runs
    assert [stage.op.name for stage in op.stages].count("fused") > 1


@pytest.mark.parametrize(("rows", "cores"), [(56, 3), (56, 6), (60, 8)], ids=str)
def test_no_bands_keep_rows_where_cores_would_be_idle(rows: int, cores: int) -> None:
    """That takes more than is saved."""
    assert not in_runs(f"16, {2 * rows}, 112", cores)


def test_what_is_hardly_larger_than_the_cache_is_not_kept_so() -> None:
    assert not in_runs("16, 40, 40", 1)


SHORT = "x -> conv(64, 3, pad = same, groups = 64) -> relu -> conv(64, 1) -> relu"


@pytest.mark.parametrize(
    ("shape", "cores", "is_joined"),
    [
        pytest.param("64, 25, 5", 2, True, id="short"),
        pytest.param("64, 25, 5", 1, False, id="one-thread"),
        pytest.param("64, 4, 4", 2, False, id="not-shared"),
        pytest.param("64, 23, 40", 2, False, id="uneven"),
    ],
)
def test_short_layers_that_threads_share_are_joined(
    shape: str, cores: int, *, is_joined: bool
) -> None:
    graph = before(f"  output y = {SHORT}", shape)
    after = stream_rows(graph, replace(TARGET, cores=cores))
    assert any(isinstance(node.op, Streamed) for node in after.nodes) is is_joined


def test_short_layers_with_many_weights_are_not_joined() -> None:
    graph = before(f"  output y = {SHORT.replace('64', '128')}", "128, 25, 5")
    assert stream_rows(graph, replace(TARGET, cores=2)) is graph


TWO = "  a = x -> conv(32, 1)\n  output y = (a -> conv(8, 1)) + (a -> conv(8, 3, pad = 1))"


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        pytest.param(f"  output y = {DEPTHWISE}", "16, 1, 12544", id="one-row"),
        pytest.param("  output y = x -> conv(32, 1) -> conv(32, 1)", "16, 40000", id="series"),
        pytest.param("  output y = x -> conv(32, 1) -> pool(avg, 2)", "16, 112, 112", id="mean"),
        pytest.param("  output y = x -> conv(32, 1) -> conv(8, 3)", "16, 115, 113", id="prime"),
        pytest.param(
            "  a = x -> conv(32, 1)\n  output y = a -> conv(8, 1)\n  output z = a",
            "16, 112, 112",
            id="output",
        ),
        pytest.param(TWO, "16, 112, 112", id="two-readers"),
        pytest.param("  output y = x -> conv(512, 1) -> conv(512, 1)", "512, 42, 42", id="weights"),
    ],
)
def test_these_convolutions_stay_alone(body: str, shape: str) -> None:
    found = joined(before(body, shape))
    assert not [each for each in found if each.count("conv") > 1 or "pool" in each]


def test_a_layer_with_another_choice_stays_alone() -> None:
    graph = before(f"  output y = {DEPTHWISE}")
    empty = Choices()
    layer = next(node for node in graph.nodes if "groups=32" in node.op.label)
    default = choose_form(layer, TARGET).choice
    other = Choice("direct", (("tile", (1, 1, 8)),))
    assert other != default
    for choice, alone in ((other, True), (default, False)):
        choices = replace(empty, entries={key_of(layer, empty): Chosen(choice)})
        after = stream_rows(graph, TARGET, choices)
        assert (layer.op in [node.op for node in after.nodes]) is alone


def test_the_graph_prints_and_reads() -> None:
    graph = stream_rows(before(f"  output y = {DEPTHWISE}"), TARGET)
    text = format_graph(graph)
    assert "streamed[" in text
    assert format_graph(parse_graph(text, large_constants(graph))) == text
