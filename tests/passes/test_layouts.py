"""Where tensors lie after `assign_layouts`."""

import numpy as np
import pytest

from cnnc.base.source import SourceFile
from cnnc.driver import find_target
from cnnc.frontend.load import load_text
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.conv import Conv
from cnnc.ops.repack import Repack
from cnnc.passes.assign_layouts import assign_layouts
from cnnc.passes.fuse import fuse


def placed(body: str, target: str) -> Graph:
    """A net of one image of 32 channels, with a side input of rank 3, after fusion and layout."""
    text = (
        "cnn 1\nnet n {\n  input x: f32[N, 32, 6, 6]\n  input side: f32[N, 6, 6]\n"
        f"  output y = {body}\n  weights he\n}}\n"
    )
    graph = load_text(SourceFile("n.cnn", text), None).graph
    return assign_layouts(fuse(graph), find_target(target))


@pytest.mark.parametrize(("target", "lanes"), [("x86-64-v4", 16), ("x86-64-v3", 8), ("aarch64", 4)])
def test_channels_are_blocked_by_the_vector_through_the_net(target: str, lanes: int) -> None:
    graph = placed("x -> conv(32, 3, pad = same) -> conv(32, 1) -> pool(max, 2)", target)
    inner = [node for node in graph.nodes if node.name.startswith("y.")]
    blocks = [node.type.layout.block(1) for node in inner if node.type.rank == 4 and node.inputs]
    assert set(blocks[:-1]) == {lanes}
    repacks = [node for node in graph.nodes if isinstance(node.op, Repack)]
    assert len(repacks) == 2
    assert repacks[0].type.layout.halo == ((0, 0), (0, 0), (1, 1), (1, 1))
    assert repacks[1] in graph.output_nodes


def test_a_side_operand_of_lower_rank_stays_as_it_is() -> None:
    graph = placed("(x -> conv(32, 1)) + (side -> relu)", "x86-64-v4")
    copied = [node.inputs[0] for node in graph.nodes if isinstance(node.op, Repack)]
    assert copied
    assert all(node.type.rank == 4 for node in copied)
    assert all(node.type.layout.is_plain for node in graph.nodes if node.type.rank == 3)


def test_a_constant_of_lower_rank_lies_as_the_channels_it_scales() -> None:
    weights = np.ones((32, 32, 1, 1), np.float32)
    per_channel = np.ones((32, 1, 1), np.float32)
    x = _leaf(Input("x"), (1, 32, 6, 6), "x")
    conv = Conv(32, (1,), bias=False)
    weight = _leaf(Constant(weights), weights.shape, "w")
    scale = _leaf(Constant(per_channel), per_channel.shape, "s")
    inner = Node(conv, (x, weight), x.type, "conv")
    outer = Node(Mul(), (inner, scale), x.type, "mul")
    graph = assign_layouts(fuse(Graph("g", (x,), {"y": outer})), find_target("x86-64-v4"))
    (found,) = (node for node in graph.nodes if node.name.startswith("s."))
    assert found.type.shape == (1, 32, 1, 1)
    assert found.type.layout.block(1) == 16


@pytest.mark.parametrize(
    ("body", "target", "copies"),
    [
        ("x -> softmax -> conv(32, 1)", "x86-64-v4", 0),
        ("x -> softmax -> conv(32, 1) -> relu", "x86-64-v4", 0),
        ("x -> conv(32, 1)", "x86-64-v4", 1),
        ("x -> softmax -> conv(32, 1)", "x86-64-v3", 1),
        ("x -> softmax -> conv(32, 1)", "aarch64", 1),
        ("x -> softmax -> conv(32, 2)", "x86-64-v4", 1),
        ("x -> softmax -> conv(32, 1, stride = 2)", "x86-64-v4", 1),
        ("x -> softmax -> conv(32, 1, groups = 2)", "x86-64-v4", 1),
        ("x -> softmax -> add { conv(32, 1) | relu }", "x86-64-v4", 2),
        ("x -> softmax -> concat { pool(max, 1) | conv(32, 1) }", "x86-64-v4", 1),
        ("x -> softmax -> reshape([1, 576, 2, 1]) -> conv(32, 1)", "x86-64-v4", 1),
    ],
)
def test_windows_of_one_tap_read_rows(body: str, target: str, copies: int) -> None:
    """What lies in rows is not copied for them alone, where a tile reads lines nearly whole."""
    graph = placed(f"({body}) -> softmax", target)
    found = [node for node in graph.nodes if isinstance(node.op, Repack)]
    into = [node for node in found if node.type.layout.block(1) > 1]
    assert len(into) == copies


@pytest.mark.parametrize(
    ("body", "target", "halo"),
    [
        ("relu -> conv(32, 3, pad = same, groups = 32)", "cortex-m4", 0),
        ("relu -> conv(32, 3, pad = same, groups = 32)", "riscv64", 1),
        ("relu -> pool(avg, 3, stride = 1, pad = same)", "cortex-m4", 0),
        ("relu -> conv(8, 3, pad = same)", "cortex-m4", 1),
        # the zeros around two channels are fewer than those of a channel and the channel
        ("conv(2, 1) -> conv(2, 3, pad = same, groups = 2)", "cortex-m4", 1),
        # they are there for another reader
        (
            "relu -> add { conv(32, 3, pad = same, groups = 32) | conv(32, 3, pad = same) }",
            "cortex-m4",
            1,
        ),
    ],
)
def test_zeros_lie_around_all_channels_or_around_one_at_a_time(
    body: str, target: str, halo: int
) -> None:
    """Where memory is small, layers that read each channel for itself copy it into a halo."""
    graph = placed(f"x -> {body}", target)
    layouts = [node.type.layout for node in graph.nodes if node.type.rank == 4]
    widest = max(max(map(max, layout.halo)) if layout.halo else 0 for layout in layouts)
    assert widest == halo
    assert not any(isinstance(node.op, Repack) for node in graph.nodes)


def _leaf(op: Input | Constant, shape: tuple[int, ...], name: str) -> Node:
    return Node(op, (), TensorType.plain(shape), name)
