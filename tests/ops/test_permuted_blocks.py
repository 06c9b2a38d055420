"""Channels that change lanes: slices that begin within a block, and concats that end there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnc
from cnnc import driver
from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.host import host_target
from cnnc.backends.native.targets import named_target
from cnnc.lowering.lowered import Layer
from cnnc.ops.concat import Concat
from cnnc.ops.movement.slice import Slice
from cnnc.ops.repack import Repack
from cnnc.ops.spec import Operator
from tests.backends.compilers import NATIVE, C
from tests.backends.guarded import check_network
from tests.backends.spread import assert_whole_vectors, behind_blocks, numbered
from tests.backends.support import in_blocks, lowered, run, single

Moved = tuple[Operator, list[tuple[int, ...]]]
MOVED: list[Moved] = [
    (Slice((1,), (26,), (52,)), [(2, 104, 5, 7)]),
    (Slice((1,), (78,)), [(1, 104, 3, 4)]),
    (Slice((1,), (5,), (-5,)), [(2, 33, 9)]),
    (Slice((1, 2), (17, 1), (40, 4)), [(1, 64, 5, 3)]),
    (Slice((1, 3), (7, None), (39, None), (1, 2)), [(2, 40, 3, 2, 7)]),
    (Slice((1,), (16,), (42,)), [(1, 64, 2, 3)]),
    (Concat(), [(2, 26, 5, 7)] * 4),
    (Concat(), [(1, 36, 3, 4)] * 2),
    (Concat(), [(2, 20, 9), (2, 44, 9), (2, 17, 9)]),
    (Concat(), [(1, 3, 2, 2), (1, 16, 2, 2)]),
    (Concat(), [(1, 19, 2, 3, 2), (1, 16, 2, 3, 2), (1, 48, 2, 3, 2)]),
    (Concat(), [(1, count, 2, 2) for count in (17, 33, 9, 64, 31)]),
    (Concat(), [(2, count, 3) for count in (9, 9, 9, 9, 9, 9, 9, 9, 9)]),
]


@pytest.mark.parametrize("moved", MOVED, ids=str)
@pytest.mark.parametrize("backend", [INTERP, NATIVE, C], ids=lambda each: each.name)
def test_all_agree(moved: Moved, backend: Backend) -> None:
    """Behind layers in blocks, on one thread and two; what is no number, too."""
    op, xs = moved[0], numbered(moved[1])
    graph = behind_blocks(op, xs)
    exact = op.reference(*(x.astype(np.float64) for x in xs))
    for threads in (1, 2):
        found = run(graph, xs, backend, host_target(), threads, in_blocks(graph))[0]
        np.testing.assert_array_equal(found, exact)


def layer(moved: Moved, name: str) -> Layer:
    """The operator behind layers in blocks, lowered for a family of processors."""
    graph = behind_blocks(moved[0], numbered(moved[1]))
    layers = lowered(graph, named_target(name)).layers
    return next(each for each in layers if each.node.name == "layer")


@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("moved", [each for each in MOVED if each[1][0][1] > 16], ids=str)
def test_whole_vectors_are_loaded_and_stored(moved: Moved, name: str) -> None:
    made = layer(moved, name)
    lanes = named_target(name).lanes(made.node.type.dtype)
    assert made.node.type.layout.block(1) == lanes
    assert_whole_vectors(made.kernel, lanes)


def test_what_lies_in_rows_is_joined_there_and_slices_backwards_lie_there() -> None:
    joined = single(Concat(), numbered([(1, 20, 2, 2), (1, 17, 2, 2)]), ())
    (made,) = lowered(joined, named_target("x86-64-v3")).layers
    assert made.node.type.layout.is_plain
    backwards = (Slice((1,), (20,), (3,), (-1,)), [(1, 24, 2, 2)])
    assert layer(backwards, "x86-64-v3").node.type.layout.is_plain


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.data())
def test_any_concat_and_a_slice_of_it(channels: list[int], data: st.DataObject) -> None:
    """Any channels joined, and any of these cut out again."""
    total = sum(channels)
    begin = data.draw(st.integers(0, total - 1))
    end = data.draw(st.integers(begin + 1, total))
    for op, shapes in (
        (Concat(), [(1, count, 2, 3) for count in channels]),
        (Slice((1,), (begin,), (end,)), [(1, total, 2, 3)]),
    ):
        xs = numbered(shapes)
        graph = behind_blocks(op, xs)
        found = run(graph, xs, NATIVE, host_target(), 1, in_blocks(graph))[0]
        np.testing.assert_array_equal(found, op.reference(*xs))


NETS = {
    "as in GhostNet": """
  a = x -> conv(36, 1) -> relu
  b = a -> conv(36, 3, pad = 1, groups = 36) -> relu
  g = [a, b] -> concat -> conv(20, 1)
  h = g -> conv(20, 3, pad = 1, groups = 20)
  output y = ([g, h] -> concat) + (x -> conv(40, 1))
""",
    "as in Res2Net": """
  parts = x -> conv(104, 1) -> relu -> split(4)
  a = parts[0] -> conv(26, 3, pad = 1) -> relu
  b = parts[1] + a -> conv(26, 3, pad = 1) -> relu
  c = parts[2] + b -> conv(26, 3, pad = 1) -> relu
  output y = [a, b, c, parts[3]] -> concat -> conv(40, 1)
""",
    "as in DenseNet": """
  a = x -> conv(28, 3, pad = 1)
  b = [x, a] -> concat -> batchnorm -> relu -> conv(28, 3, pad = 1)
  c = [x, a, b] -> concat -> batchnorm -> relu -> conv(28, 3, pad = 1)
  output y = [x, a, b, c] -> concat -> batchnorm -> relu -> conv(40, 1) -> pool(max, 2)
""",
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("size", [(9, 11), (56, 56)])
def test_nets(name: str, size: tuple[int, int]) -> None:
    """With halos around what is moved, pointwise operators behind it, rows at a time.

    What only fills a block may be any number, and nothing behind the end of memory is read.
    """
    text = f"cnn 1\nnet n {{\n  input x: f32[1, 20, {size[0]}, {size[1]}]\n{NETS[name]}"
    graph = cnnc.load_text(f"{text}  weights he(seed = 1)\n}}\n").graph
    for target in ("native", "x86-64"):
        check_network(graph, target, 0)


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("name", NETS)
def test_nothing_is_copied_to_rows_and_back(name: str, target: str) -> None:
    """No convolution lies in rows for the sake of what would be free to join or cut there."""
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[1, 20, 28, 28]\n{NETS[name]}  weights he(seed = 1)\n}}\n"
    )
    graph, _ = driver.prepare(cnnc.load_text(text).graph, driver.find_target(target))
    copied = [node.inputs[0] for node in graph.nodes if isinstance(node.op, Repack)]
    ends = [node for node in copied if not node.is_leaf]
    assert len(ends) == 1, [node.name for node in ends]  # the output


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_samples(dtype: str, threads: int) -> None:
    """A shuffle cut in two, a slice and a concat, in a program for one to three samples."""
    text = f"""cnn 1
net n {{
  input x: {dtype}[N, 20, 6, 5]
  a = x -> conv(36, 1)
  s = [a, x -> conv(36, 1) -> relu] -> concat
  t = s -> reshape([0, 2, 36, -1]) -> transpose([0, 2, 1, 3]) -> reshape(s.shape)
  p, q = t -> split(2)
  d = p -> conv(36, 3, pad = 1, groups = 36)
  output y = [d, q, a -> slice(1, 5, 22)] -> concat -> conv(9, 1)
  weights he(seed = 1)
}}
"""
    alone = cnnc.load_text(text).compile()
    some = cnnc.load_text(text, batch="1..3").compile(threads=threads)
    x = np.random.default_rng(0).normal(size=(3, 20, 6, 5)).astype(dtype.replace("f", "float"))
    expected = np.concatenate([alone(x[at : at + 1])["y"] for at in range(3)])
    for count in (1, 2, 3):
        np.testing.assert_array_equal(some(x[:count])["y"], expected[:count])
