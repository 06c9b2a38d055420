"""Weights are made once, where they shall lie: nothing else as large is made on the way."""

import pickle
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc.base.layout import Shape
from cnnc.compiled import Compiled
from cnnc.ir.graph import Array, Constant, Node, cuts
from cnnc.options import Options

NET = """cnn 1
net n {
  input x: f32[1, 16, 8, 8]
  y = x -> conv(600, 3, pad = same) -> batchnorm -> relu -> conv(600, 3, pad = same) -> batchnorm
  output y
  weights he(seed = 0)
}
"""
SPARE = 12 << 20
"""Bytes for graphs, loops, code, and parts of weights."""


class Counted:
    """A recipe that counts how often it is asked."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.calls = shape, 0
        self.dtype: np.dtype[np.generic] = np.dtype(np.float32)
        self.magnitudes, self.identity = (0.5, 0.5), self

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe."""
        self.calls += 1
        for cut in cuts(self.shape, rows):
            yield np.full((cut.stop - cut.start, *self.shape[1:]), 0.5, np.float32)


@pytest.mark.parametrize("exact", [False, True])
def test_compiling_makes_each_weight_once(exact: bool) -> None:
    made: list[Counted] = []

    def count(node: Node) -> Node:
        if not isinstance(node.op, Constant) or node.type.rank != 4:
            return node
        made.append(Counted(node.type.shape))
        return replace(node, op=Constant(made[-1]))

    graph = cnnc.load_text(NET).graph.rebuild(count)
    net = Compiled(graph, Options(exact=exact))
    assert any("winograd" in row.op for row in net.layers) is not exact
    assert [each.calls for each in made] == [1, 1]


@pytest.mark.parametrize("exact", [False, True])
def test_compiling_holds_weights_once(exact: bool) -> None:
    cnnc.load_text(NET).compile(exact=exact)  # modules are imported, code is in the cache
    tracemalloc.start()
    try:
        net = cnnc.load_text(NET).compile(exact=exact)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    weights = net.lowered.program.weights_bytes
    assert weights > SPARE
    assert peak < weights + SPARE


def test_weights_that_nobody_keeps_are_the_same_again() -> None:
    model = cnnc.load_text(NET)
    x = np.random.default_rng(0).standard_normal((1, 16, 8, 8), np.float32)
    one, two = model.compile(), model.compile()
    assert one.lowered.program == two.lowered.program
    copies = (two, pickle.loads(pickle.dumps(one)), pickle.loads(pickle.dumps(model)).compile())
    expected = one(x)["y"].tobytes()
    assert [copy(x)["y"].tobytes() for copy in copies] == [expected] * 3
    other = cnnc.load_text(NET.replace("seed = 0", "seed = 1")).compile()
    assert one.lowered.program != other.lowered.program


def test_a_pickle_of_drawn_weights_says_how_to_draw_them() -> None:
    assert len(pickle.dumps(cnnc.load_text(NET))) < 1 << 16


def test_the_comparison_with_the_reference_draws_them_again() -> None:
    report = cnnc.diff(cnnc.load_text(NET))
    assert report.ok, report.format()
