"""Operators that move elements, in the language."""

import numpy as np

import cnnc
from cnnc.driver import find_target, lower_graph, optimise, pipeline
from cnnc.ops.movement.slice import Slice
from tests.frontend.helpers import net, operators

SHUFFLE = """cnn 1
block shuffle(groups) {
  reshape([0, groups, in.channels // groups, -1]) -> transpose([0, 2, 1, 3]) -> reshape(in.shape)
}
net n {
  input x: f32[N, 6, 2, 3]
  output y = x -> shuffle(3)
  output z = x -> conv(1, 1)
  weights he
}
"""


def test_split_gives_a_list() -> None:
    found = operators(net("a, b = x -> halves: split([1, 2])\n  output y = [a, b] -> concat"))
    assert found["halves.0"] == "slice(axis=1, begin=0, end=1) <- x"
    assert found["halves.1"] == "slice(axis=1, begin=1, end=3) <- x"
    assert found["y"] == "concat <- halves.0, halves.1"


def test_what_nobody_reads_is_not_made() -> None:
    found = operators(net("_, b, _ = x -> split(3)\n  output y = b -> relu"))
    assert found == {"split.1": "slice(axis=1, begin=1, end=2) <- x", "y": "relu <- split.1"}


def test_one_part_costs_one_part() -> None:
    graph = net("_, b = x -> split([1, 2])\n  output y = b -> relu").graph
    target = find_target("x86-64-v3")
    lowered = lower_graph(optimise(graph, pipeline(target)), target)
    sliced = [layer.node for layer in lowered.layers]
    assert len(sliced) == 1
    assert isinstance(sliced[0].op.root, Slice)


def test_a_channel_shuffle_is_a_block() -> None:
    x = np.arange(72, dtype=np.float32).reshape(2, 6, 2, 3)
    y = cnnc.load_text(SHUFFLE).compile(threads=1)(x)["y"]
    expected = x.reshape(2, 3, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(x.shape)
    np.testing.assert_array_equal(y, expected)
