"""Channels of groups in turns: against reshaping and transposing, as loops, and from blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import cnnc
from cnnc import driver
from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.host import host_target
from cnnc.backends.native.targets import named_target
from cnnc.lowering.lowered import Layer
from cnnc.ops.graph_text import GraphTextError, parse_operator
from cnnc.ops.movement.channel_shuffle import ChannelShuffle
from tests.backends.compilers import NATIVE, C
from tests.backends.guarded import check_network
from tests.backends.spread import assert_whole_vectors, behind_blocks, numbered
from tests.backends.support import F32, in_blocks, lowered, run, single
from tests.ops.evaluate_loops import run_loops

Shuffled = tuple[int, int, int, tuple[int, ...], int, int]
BLOCKED: list[Shuffled] = [
    # groups, operands, channels of each group, spatial, begin, channels
    (2, 2, 58, (5, 7), 0, 58),
    (2, 2, 58, (5, 7), 58, 58),
    (2, 1, 58, (3, 4), 0, 116),
    (3, 1, 80, (4, 3), 0, 240),
    (3, 3, 17, (9,), 4, 40),
    (4, 4, 16, (2, 3, 2), 0, 60),
]
IN_ROWS: list[Shuffled] = [  # narrow, or its last vectors would end behind an operand
    (4, 4, 16, (2, 3, 2), 1, 60),
    (2, 1, 33, (3, 3), 65, 1),
    (8, 1, 4, (1, 1), 3, 29),
    (2, 2, 1, (6,), 0, 2),
    (2, 2, 4, (3, 5), 1, 6),
]
SHAPES = [*BLOCKED, *IN_ROWS, (5, 5, 8, (2, 2), 0, 40), (7, 1, 1, (2,), 0, 7)]


def operands(shape: Shuffled, samples: int) -> list[F32]:
    """Different numbers, some of them none."""
    groups, count, each, spatial, *_ = shape
    return numbered([(samples, groups * each // count, *spatial)] * count)


def expected(op: ChannelShuffle, xs: list[F32]) -> NDArray[np.generic]:
    """As the paper says it: a matrix of groups, transposed."""
    x = np.concatenate(xs, axis=1)
    samples, channels, *spatial = x.shape
    matrix = x.reshape(samples, op.groups, channels // op.groups, *spatial)
    whole = np.moveaxis(matrix, 1, 2).reshape(x.shape)
    return whole[:, op.begin : op.begin + op.channels]


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_all_agree(shape: Shuffled, samples: int) -> None:
    """The reference; the loops as defined; from rows and from blocks, on one thread and two."""
    op, xs = ChannelShuffle(shape[0], *shape[-2:]), operands(shape, samples)
    exact = expected(op, xs)
    np.testing.assert_array_equal(op.reference(*(x.astype(np.float64) for x in xs)), exact)
    np.testing.assert_array_equal(run_loops(op, tuple(xs)), exact)
    rows, target = single(op, xs, ()), host_target()
    for backend, threads in ((INTERP, 1), (NATIVE, 1), (NATIVE, 2), (C, 1)):
        np.testing.assert_array_equal(run(rows, xs, backend, target, threads)[0], exact)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backend", [INTERP, NATIVE, C], ids=lambda each: each.name)
def test_blocks_agree(shape: Shuffled, backend: Backend) -> None:
    """Behind layers in blocks, on one thread and two."""
    op, xs = ChannelShuffle(shape[0], *shape[-2:]), operands(shape, 2)
    graph, exact = behind_blocks(op, xs), expected(op, xs)
    for threads in (1, 2):
        found = run(graph, xs, backend, host_target(), threads, in_blocks(graph))[0]
        np.testing.assert_array_equal(found, exact)


def layer(shape: Shuffled, name: str) -> Layer:
    """The operator behind layers in blocks, lowered for a family of processors."""
    graph = behind_blocks(ChannelShuffle(shape[0], *shape[-2:]), operands(shape, 1))
    return next(
        each for each in lowered(graph, named_target(name)).layers if each.node.name == "layer"
    )


@pytest.mark.parametrize("name", ["x86-64", "x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("shape", BLOCKED, ids=str)
def test_it_stays_in_blocks(shape: Shuffled, name: str) -> None:
    """Whole vectors are loaded and stored, and nothing else."""
    made = layer(shape, name)
    lanes = named_target(name).lanes(made.node.type.dtype)
    assert made.node.type.layout.block(1) == lanes
    assert_whole_vectors(made.kernel, lanes)


@pytest.mark.parametrize("shape", IN_ROWS, ids=str)
def test_what_would_read_behind_the_end_or_is_narrow_lies_in_rows(shape: Shuffled) -> None:
    assert layer(shape, "x86-64-v3").node.type.layout.block(1) == 1


def test_what_lies_in_rows_is_shuffled_there() -> None:
    shuffle = single(ChannelShuffle(2, 0, 64), operands(SHAPES[0], 1), ())
    (made,) = lowered(shuffle, named_target("x86-64-v3")).layers
    assert made.node.type.layout.is_plain


TAILS = {
    "relu": "shuffled -> relu",
    "silu": "shuffled -> silu",
    "as in SA-Net": "(shuffled + x) -> relu",
    "an elementary function of a sum": "(shuffled + x) -> gelu",
    "slices": "[shuffled -> slice(1, 0, 20) -> tanh, shuffled -> slice(1, 20)] -> concat",
}


@pytest.mark.parametrize("backend", [INTERP, NATIVE, C], ids=lambda each: each.name)
@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("name", TAILS)
def test_pointwise_operators_behind_it(name: str, groups: int, backend: Backend) -> None:
    """They repeat what they need for each of the vectors that are made together."""
    text = f"""cnn 1
net n {{
  input image: f32[N, 4, 3, 5]
  x = image -> conv(32, 1) -> relu
  shuffled = x -> conv(32, 3, pad = 1, groups = 32)
    -> reshape([0, {groups}, {32 // groups}, -1]) -> transpose([0, 2, 1, 3]) -> reshape(x.shape)
  output y = {TAILS[name]} -> conv(8, 1)
  weights he(seed = 1)
}}
"""
    graph = cnnc.load_text(text, batch=2).graph
    check_network(graph, "native", 0, backend)
    optimised, _ = driver.prepare(graph, driver.find_target("x86-64-v3"))
    assert not any("transpose" in node.op.label for node in optimised.nodes if not node.is_leaf)


@settings(max_examples=30)
@given(st.data())
def test_any_shuffle(data: st.DataObject) -> None:
    """Any run of channels of groups of any size, in blocks."""
    groups, each = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 40))
    count = data.draw(st.sampled_from([1, groups]))
    begin = data.draw(st.integers(0, groups * each - 1))
    channels = data.draw(st.integers(1, groups * each - begin))
    shape = (groups, count, each, (2, 3), begin, channels)
    op, xs = ChannelShuffle(groups, begin, channels), operands(shape, 1)
    graph = behind_blocks(op, xs)
    found = run(graph, xs, NATIVE, host_target(), 1, in_blocks(graph))[0]
    np.testing.assert_array_equal(found, expected(op, xs))


def test_it_prints_and_reads_back() -> None:
    op = ChannelShuffle(2, 58, 57)
    assert op.label == "channel_shuffle(groups=2, begin=58, channels=57)"
    assert parse_operator(op.label) == op
    with pytest.raises(GraphTextError, match="channel_shuffle needs groups, begin, channels"):
        parse_operator("channel_shuffle(groups=2)")
    with pytest.raises(GraphTextError):
        parse_operator("channel_shuffle(groups=1, begin=0, channels=4)")
