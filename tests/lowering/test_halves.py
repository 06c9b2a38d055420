"""Half a vector for channels that fill no more of their last block."""

import re
from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.targets import named_target, runs_here
from cnnc.base.target import Target
from cnnc.ir.graph import Graph
from cnnc.loop.text import print_kernel
from cnnc.lowering.lower import lower
from cnnc.passes.share_memory import share_memory
from tests.backends.compilers import NATIVE, C
from tests.backends.streams import outputs, plan, special, stream_all

WHOLE = named_target("x86-64-v4")
HALVES = replace(WHOLE, vector_units=1)


def text_of(graph: Graph, target: Target, part: str = "conv") -> str:
    """The loops of the last layer of this operator."""
    layers = lower(share_memory(graph), target).layers
    return [print_kernel(each.kernel) for each in layers if part in each.node.op.label][-1]


@pytest.mark.parametrize("backend", [INTERP, NATIVE, C], ids=["interp", "native", "c"])
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        pytest.param("conv(24, 1) -> conv(17, 1) -> relu", "5, 6, 7", id="pointwise"),
        pytest.param(
            "conv(40, 3, pad = 1, stride = 2) -> silu -> conv(20, 3)", "6, 9, 9", id="exp"
        ),
        pytest.param("conv(24, 1) -> conv(24, 3, pad = 1) -> pool(max, 2)", "33, 8, 5", id="halo"),
        pytest.param(
            "\n  a = x -> conv(24, 1)\n  output y = a + (a -> conv(72, 1) -> exp -> conv(24, 1))\n",
            "8, 6, 14",
            id="residual",
        ),
        pytest.param("conv(640, 1) -> conv(40, 1) -> conv(24, 7)", "4, 7, 7", id="panels"),
    ],
)
def test_results_have_the_same_bits(body: str, shape: str, backend: Backend) -> None:
    if backend is not INTERP and not runs_here(HALVES):
        pytest.skip("this machine does not run x86-64-v4 code")
    batch = 1 if backend is INTERP else 2
    graph = plan(body, shape, HALVES, batch)
    assert "for oc.2 in 8 vector" in text_of(graph, HALVES)
    x = special(graph, 3)
    expected = outputs(share_memory(graph), x, backend, WHOLE)
    for threads in range(1, batch + 1):
        found = outputs(share_memory(graph), x, backend, HALVES, threads)
        np.testing.assert_array_equal(found, expected)
    if "640" not in body and graph.outputs["y"].type.shape[2] % 2 == 0:
        found = outputs(stream_all(graph, 2), x, backend, HALVES)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("channels", "has_half"),
    [(17, True), (20, True), (24, True), (25, False), (32, False), (40, True), (8, False)],
)
def test_which_channels_take_half_a_vector(channels: int, *, has_half: bool) -> None:
    graph = plan(f"conv({channels}, 1)", "24, 8, 14", HALVES)
    text = text_of(graph, HALVES)
    assert ("acc.half" in text) is has_half
    assert "acc.half" not in text_of(graph, WHOLE)


def test_what_is_left_of_the_block_is_zero() -> None:
    text = text_of(plan("conv(24, 1)", "24, 8, 14", HALVES), HALVES)
    assert re.search(r"for oc\.2 in 8 vector \{\s*y\[n, oc\.2 \+ 24, [^]]*\] = 0\.0\n", text)


@pytest.mark.parametrize("layer", ["conv(24, 1, groups = 2)", "conv(24, 3, groups = 24, pad = 1)"])
def test_groups_take_whole_vectors(layer: str) -> None:
    graph = plan(f"conv(24, 1) -> {layer}", "24, 8, 14", HALVES)
    assert "acc.half" not in text_of(graph, HALVES)


def test_any_number_of_samples_of_a_range() -> None:
    if not runs_here(HALVES):
        pytest.skip("this machine does not run x86-64-v4 code")
    text = """cnn 1
net n {
  input x: f32[N, 16, 6, 14]
  output y = x -> conv(24, 1) -> relu -> conv(40, 3, pad = 1) -> relu
  weights he(seed = 3)
}
"""
    model = cnnc.load_text(text, batch="1..3")
    net, reference = model.compile(), model.compile(backend="reference")
    for samples in (1, 3):
        x = np.random.default_rng(samples).standard_normal((samples, 16, 6, 14), np.float32)
        np.testing.assert_allclose(net(x)["y"], reference(x)["y"], rtol=1e-4, atol=1e-5)
