"""Sums in panels of weights."""

from dataclasses import replace

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.targets import named_target, runs_here
from cnnc.loop.expr import Space
from cnnc.loop.kernel import Alloc, walk
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.lowering.loops import ScheduleError
from cnnc.lowering.panels import sum_in_panels
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.dense import Dense
from tests.backends.compilers import NATIVE
from tests.backends.support import assert_within, lowered, run, single

SUMS = """\
kernel k {
  in x: f32[8, 6]
  in w: f32[4, 8]
  out y: f32[4, 6]
  for o in 4 parallel {
    for p.0 in 3 {
      register acc: f32[2]
      for p.1 in 2 unrolled {
        acc[p.1] = 0.5
      }
      for r in 8 reduce {
        for p.1 in 2 unrolled {
          acc[p.1] = fma(w[o, r], x[r, p.0 * 2 + p.1], acc[p.1])
        }
      }
      for p.1 in 2 unrolled {
        y[o, p.0 * 2 + p.1] = acc[p.1] * 2.0
      }
    }
  }
}
"""
IN_PANELS = """\
kernel k {
  in x: f32[8, 6]
  in w: f32[4, 8]
  out y: f32[4, 6]
  for o in 4 parallel {
    scratch part: f32[3, 2]
    for p.0 in 3 {
      register acc: f32[2]
      for p.1 in 2 unrolled {
        acc[p.1] = 0.5
      }
      for p.1 in 2 unrolled {
        part[p.0, p.1] = acc[p.1]
      }
    }
    for r.p in 2 reduce {
      for p.0 in 3 {
        register acc: f32[2]
        for p.1 in 2 unrolled {
          acc[p.1] = part[p.0, p.1]
        }
        for r in 4 reduce {
          for p.1 in 2 unrolled {
            acc[p.1] = fma(w[o, r.p * 4 + r], x[r.p * 4 + r, p.0 * 2 + p.1], acc[p.1])
          }
        }
        for p.1 in 2 unrolled {
          part[p.0, p.1] = acc[p.1]
        }
      }
    }
    for p.0 in 3 {
      register acc: f32[2]
      for p.1 in 2 unrolled {
        acc[p.1] = part[p.0, p.1]
      }
      for p.1 in 2 unrolled {
        y[o, p.0 * 2 + p.1] = acc[p.1] * 2.0
      }
    }
  }
}
"""


def test_sums_are_kept_between_panels() -> None:
    assert print_kernel(sum_in_panels(parse_kernel(SUMS), "o", "r", 4)) == IN_PANELS


@pytest.mark.parametrize(("outer", "var", "size"), [("o", "r", 3), ("p.0", "q", 4), ("q", "r", 4)])
def test_what_does_not_apply_is_refused(outer: str, var: str, size: int) -> None:
    with pytest.raises(ScheduleError):
        sum_in_panels(parse_kernel(SUMS), outer, var, size)


@pytest.mark.parametrize(
    ("backend", "name"),
    [(NATIVE, "native"), (NATIVE, "x86-64-v3"), (INTERP, "x86-64-v4")],
    ids=["native", "avx2", "interp"],
)
@pytest.mark.parametrize(
    ("channels", "kernel", "stride"), [(1536, 1, 1), (128, 3, 1), (128, 3, 2)], ids=str
)
def test_layers_with_far_weights_come_out_right(
    channels: int, kernel: int, stride: int, backend: Backend, name: str
) -> None:
    # with a small second-level cache rows come first, and weights are in no panels
    target = replace(named_target(name), l2_bytes=1 << 20)
    if backend is NATIVE and not runs_here(target):
        pytest.skip(f"this machine does not run {name} code")
    op = Conv(32, (kernel,), stride=(stride,), pad=Padding("same"))
    rng = np.random.default_rng(channels)
    shapes = ((1, channels, 7 * stride, 7 * stride), (32, channels, kernel, kernel), (32,))
    x, *weights = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    graph = single(op, [x], weights)
    layer = next(layer for layer in lowered(graph, target).layers if layer.node.name == "layer")
    spaces = {stmt.buffer.space for stmt in walk(layer.kernel.body) if isinstance(stmt, Alloc)}
    assert Space.SCRATCH in spaces
    out = run(graph, [x], backend, target)[0]
    operands = [x, *weights]
    assert_within(op, out, op.reference(*(v.astype(np.float64) for v in operands)), operands)


@pytest.mark.parametrize("backend", [INTERP, NATIVE], ids=["interp", "native"])
def test_blocks_and_columns_that_are_left_over(backend: Backend) -> None:
    """25 blocks in tiles of three, 7 columns in tiles of four: nests of their own, in panels."""
    target = named_target("x86-64-v3")
    if backend is NATIVE and not runs_here(target):
        pytest.skip("this machine does not run AVX2 code")
    op = Conv(200, (3,), pad=Padding("same"))
    rng = np.random.default_rng(5)
    shapes = ((1, 64, 7, 7), (200, 64, 3, 3), (200,))
    x, *weights = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    graph = single(op, [x], weights)
    layer = next(layer for layer in lowered(graph, target).layers if layer.node.name == "layer")
    assert "tile 3×4" in layer.kernel.origin.algorithm
    scratch = [
        stmt.buffer.shape[0]
        for stmt in walk(layer.kernel.body)
        if isinstance(stmt, Alloc) and stmt.buffer.space is Space.SCRATCH
    ]
    assert len(scratch) == 2  # four columns, three columns; the block that is left is summed whole
    out = run(graph, [x], backend, target)[0]
    operands = [x, *weights]
    assert_within(op, out, op.reference(*(v.astype(np.float64) for v in operands)), operands)


@pytest.mark.parametrize(("extent", "fetched"), [(7, True), (1, False)])
def test_weights_are_fetched_early_where_they_serve_several_positions(
    extent: int, fetched: bool
) -> None:
    """Those of a single position are a stream from one end to the other."""
    op = Conv(512, (1,), bias=False)
    x = np.zeros((1, 2048, extent, extent), np.float32)
    weight = np.zeros((512, 2048, 1, 1), np.float32)
    layers = lowered(single(op, [x], [weight]), named_target("x86-64-v4")).layers
    text = print_kernel(next(each.kernel for each in layers if each.node.name == "layer"))
    assert ("prefetch later weight" in text) == fetched


def test_dense_weights_are_not_fetched_early() -> None:
    op = Dense(512, bias=False)
    x, weight = np.zeros((1, 4096), np.float32), np.zeros((512, 4096), np.float32)
    layers = lowered(single(op, [x], [weight]), named_target("x86-64-v4")).layers
    assert not any("prefetch later" in print_kernel(each.kernel) for each in layers)


@pytest.mark.parametrize("name", ["x86-64-v4", "x86-64-v3", "x86-64", "aarch64"])
@pytest.mark.parametrize(("channels", "kernel"), [(16, 9), (8, 11), (4, 15), (17, 9)], ids=str)
def test_a_single_block_of_channels_is_no_panel(channels: int, kernel: int, name: str) -> None:
    """However many weights a window has, one block cannot be summed in pieces."""
    op = Conv(32, (kernel,), pad=Padding("same"), bias=False)
    x = np.zeros((1, channels, 7, 7), np.float32)
    weight = np.zeros((32, channels, kernel, kernel), np.float32)
    assert lowered(single(op, [x], [weight]), named_target(name)).layers
