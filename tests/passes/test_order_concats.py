"""Which concats `order_concats` turns round, and what that leaves of copies."""

import numpy as np
import pytest

import cnnc
from cnnc.base.source import SourceFile
from cnnc.driver import find_target, optimise, pipeline
from cnnc.frontend.load import load_text
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.verify import verify
from cnnc.offers.offer import root_of
from cnnc.ops.concat import Concat
from cnnc.ops.repack import Repack
from cnnc.ops.view import View
from cnnc.passes._reordered import Reordered
from cnnc.passes.assign_layouts import assign_layouts
from cnnc.passes.fuse import fuse
from cnnc.passes.order_concats import order_concats
from tests.backends.guarded import check_network
from tests.nets.test_random_nets import check_text

PARTS = """  a = x -> conv(16, 3, pad = same) -> relu
  b = x -> conv(8, 3, pad = same) -> relu
  c = x -> conv(64, 1)
"""


def source(body: str, shape: str = "24, 9, 8") -> str:
    """A net of one input."""
    return f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n{body}  weights he(seed = 1)\n}}\n"


def net(body: str, shape: str = "24, 9, 8") -> Graph:
    """Its graph, fused as it is before the pass."""
    return fuse(load_text(SourceFile("n.cnn", source(body, shape)), None).graph)


def concats(graph: Graph) -> list[list[int]]:
    """Channels of what the concats join."""
    found = [node for node in graph.nodes if not node.is_leaf and _is_concat(node)]
    return [[operand.type.channels for operand in node.inputs] for node in found]


def _is_concat(node: Node) -> bool:
    root, _ = root_of(node)
    return isinstance(root.root if isinstance(root, View) else root, Concat)


def repacks(graph: Graph) -> list[str]:
    """Channels of what is copied, but for inputs and outputs of the net."""
    graph = assign_layouts(graph, find_target("x86-64-v4"))
    inner = [
        node
        for node in graph.nodes
        if isinstance(node.op, Repack)
        and not node.inputs[0].is_leaf
        and node not in graph.output_nodes
    ]
    return [node.name for node in inner]


READERS = [
    "conv(32, 3, pad = same)",
    "conv(32, 3, pad = same) -> relu",
    "conv(5, [1, 2], stride = 2, bias = false)",
    "unshared(16, [9, 8])",
]


@pytest.mark.parametrize("reader", READERS)
def test_what_fills_no_block_goes_to_the_end(reader: str) -> None:
    """Nothing is copied then, and the weights are those of the channels they had."""
    graph = net(f"{PARTS}  output y = concat {{ a | b | c }} -> {reader}\n")
    after = order_concats(graph, find_target("x86-64-v4"))
    verify(after)
    assert concats(graph) == [[16, 8, 64]]
    assert concats(after) == [[16, 64, 8]]
    assert repacks(after) == []
    assert repacks(graph)
    x = np.random.default_rng(0).standard_normal((1, 24, 9, 8)).astype(np.float32)
    wanted, found = (evaluate(each, {"x": x})["y"] for each in (graph, after))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_two_readers_keep_one_copy_of_the_weights_they_share() -> None:
    graph = net(
        f"{PARTS}  both = concat {{ b | a | c }}\n"
        "  output y = both -> conv(32, 1)\n  output z = both -> conv(32, 3) -> relu\n"
    )
    after = order_concats(graph, find_target("x86-64-v4"))
    assert concats(after) == [[16, 64, 8]]
    made = [
        node
        for node in after.nodes
        if isinstance(node.op, Constant) and isinstance(node.op.source, Reordered)
    ]
    assert len(made) == 2
    assert {node.name for node in made} <= graph.names


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("output y = concat { a | b | c }", "an output has its order"),
        ("output y = concat { a | b | c } -> softmax", "no weights"),
        (
            "output y = concat { a | b | c } -> conv(8, 1, groups = 4)",
            "not all channels are summed",
        ),
        ("output y = concat { b | a | c } -> conv(88, 1, groups = 88)", "every channel on its own"),
        ("output y = concat { a | c } -> conv(8, 1)", "all fill their blocks"),
        ("output y = concat { a | c | b } -> conv(8, 1)", "it is at the end"),
        ("output y = concat { b | a -> conv(24, 1) | c } -> conv(8, 1)", "two fill no block"),
        (
            "d = concat { a | b | c }\n  output y = d -> conv(8, 1)\n  output z = d -> tanh",
            "another reader",
        ),
        ("output y = concat { x | b | c }(axis = 2) -> conv(8, 1)", "another axis"),
    ],
)
def test_others_stay(body: str, why: str) -> None:
    if "axis" in body:
        body = "output y = concat(axis = 2) { a | a -> pad(0) } -> conv(8, 1)"
    graph = net(f"{PARTS}  {body}\n")
    assert order_concats(graph, find_target("x86-64-v4")) is graph, why


def test_row_major_operands_are_not_copied_into_blocks_for_a_few_channels() -> None:
    """The pass counts bytes: here three input channels would be copied as 16, and 16 as 16."""
    text = "  input z: f32[N, 3, 9, 8]\n  output y = concat { z | x } -> conv(8, 1)\n"
    graph = net(text, "16, 9, 8")
    assert order_concats(graph, find_target("x86-64-v4")) is graph


def test_narrow_operands_are_computed_in_the_blocks_of_the_concat() -> None:
    """Through what works element by element; one channel is copied, as it is no vector."""
    graph = net(f"{PARTS}  output y = concat {{ a | x -> conv(1, 1) }} -> conv(8, 1)\n")
    assert [name.split(".")[-1] for name in repacks(graph)] == ["aBcd16b"]
    graph = net(f"{PARTS}  output y = concat {{ c | b -> conv(8, 1, groups = 8) }} -> conv(8, 1)\n")
    after = optimise(graph, pipeline(find_target("x86-64-v4"))[-4:])
    (view,) = [node for node in after.nodes if isinstance(node.op, View)]
    assert {operand.type.layout.block(1) for operand in view.inputs} == {16}
    assert repacks(graph) == []


def test_narrow_operands_alone_are_joined_in_their_own_blocks() -> None:
    body = "  b = x -> conv(8, 1)\n  output y = concat { b | b -> conv(6, 1) } -> conv(8, 1)\n"
    graph = net(body, "4, 9, 8")
    assert repacks(graph) == []
    placed = assign_layouts(graph, find_target("x86-64-v4"))
    (node,) = [node for node in placed.nodes if not node.is_leaf and _is_concat(node)]
    assert node.type.layout.block(1) == 8


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_infinite_neighbours_make_no_nan(batch: int, threads: int) -> None:
    """What only fills a block is 0 times infinity, or the logarithm of 0; nobody reads it."""
    body = """  a = x -> conv(16, 1)
  b = x -> conv(8, 1, bias = false) -> abs -> log
  output y = concat { b | a | x -> conv(32, 1) -> exp } -> conv(20, 3, pad = same)
"""
    model = cnnc.load_text(source(body, "3, 9, 8"), batch=batch)
    x = np.random.default_rng(2).standard_normal((batch, 3, 9, 8)).astype(np.float32)
    x[:, :, 2, 3], x[:, 1, 5, 5], x[:, 0, 7, 1] = 0, np.inf, np.nan
    found = model.compile(threads=threads, exact=True)(x)["y"]
    expected = model.compile(backend="reference")(x)["y"]
    assert np.isinf(expected).any()
    assert np.isnan(expected).any()
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_nothing_depends_on_what_fills_a_block(target: str) -> None:
    """Layer by layer and whole, with numbers and with NaN there, between guarded pages."""
    body = (
        "  output y = concat { b | a | c | x -> conv(1, 1) -> relu } -> conv(20, 3, pad = same)\n"
    )
    body += "  output z = concat { b -> conv(4, 1) | a | c } -> conv(9, 1) -> tanh\n"
    check_network(load_text(SourceFile("n.cnn", source(PARTS + body)), None).graph, target, 0)


WIDTHS = (1, 2, 3, 4, 5, 8, 12, 16, 17, 20, 24, 32, 40)
MAKERS = ("conv({})", "conv({}) -> relu", "conv({}) -> abs -> log", "conv({}) -> pool(max, 1)")
ENDS = (
    "conv(8, 3, pad = same)",
    "conv(16, 1) -> relu",
    "conv(3, 2)",
    "relu -> conv(9, 1)",
    "pool(max, 2) -> conv(8, 1)",
    "flatten -> dense(5)",
    "softmax",
)


@pytest.mark.parametrize("number", range(20))
def test_random_concats(number: int) -> None:
    """Any widths, joined twice, read by one or two."""
    random = np.random.default_rng(number)
    lines = ["input x0: f32[N, 3, 4, 3]"]
    names = ["x0"]
    for place in range(random.integers(2, 5)):
        maker = random.choice(MAKERS).format(f"{random.choice(WIDTHS)}, 1")
        lines.append(f"p{place} = {random.choice(names)} -> {maker}")
        names.append(f"p{place}")
    parts = random.permutation(names[random.integers(2) :])
    lines.append(f"c = concat {{ {' | '.join(parts)} }}")
    if random.integers(2):
        first, second = random.permutation(["c", f"c -> conv({random.choice(WIDTHS)}, 1)"])
        lines.append(f"d = concat {{ {first} | {second} }}")
        lines.append(f"output e = d -> {random.choice(ENDS)}")
    lines += [f"output y{n} = c -> {random.choice(ENDS)}" for n in range(random.integers(1, 3))]
    batch = random.choice((1, 1, 2))
    text = "".join(f"  {line}\n" for line in [*lines, "weights he(seed = 1)"])
    check_text(f"cnn 1\n\nparam N = {batch}\n\nnet random {{\n{text}}}\n")
