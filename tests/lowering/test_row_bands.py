"""Bands of rows, each with its own panels of weights, for cores that would be idle."""

from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.targets import named_target, runs_here
from cnnc.base.target import Target
from cnnc.base.tiles import Tile
from cnnc.ir.graph import Graph
from cnnc.loop.expr import Space
from cnnc.loop.kernel import Alloc, For, Kernel, Kind, walk
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.lowering.lower import lower
from cnnc.lowering.panels import BAND, cut_bands, share_panels
from cnnc.offers.direct import Form
from cnnc.offers.panels import Panels, panels_of
from cnnc.offers.shares import longest_share
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.passes.assign_layouts import assign_layouts
from tests.backends.compilers import NATIVE
from tests.backends.support import assert_within, lowered, run, single

pytestmark = pytest.mark.usefixtures("code_is_kept")

ROWS = """\
kernel k {
  in x: f32[4, 5]
  out y: f32[4, 5]
  for o in 4 parallel {
    for p in 5 {
      y[o, p] = x[o, p]
    }
  }
}
"""
IN_BANDS = """\
kernel k {
  in x: f32[4, 5]
  out y: f32[4, 5]
  for o in 4 parallel {
    for row.band in 2 {
      for p in 2 {
        y[o, row.band * 2 + p] = x[o, row.band * 2 + p]
      }
    }
  }
  for o in 4 parallel {
    for row.band in 1 {
      for p in 1 {
        y[o, row.band + p + 4] = x[o, row.band + p + 4]
      }
    }
  }
}
"""
NESTS = """\
kernel k {
  in x: f32[2, 5, 8]
  out y: f32[2, 5, 8]
  for a in 2 {
    for o in 4 {
      for p in 2 {
        for p.1 in 2 {
          y[a, o, p * 2 + p.1] = x[a, o, p * 2 + p.1]
        }
      }
    }
  }
  for a in 2 {
    for p in 3 {
      y[a, 4, p] = x[a, 4, p]
    }
  }
  for a in 2 {
    for p in 5 {
      y[a, 4, p + 3] = x[a, 4, p + 3]
    }
  }
  for a in 2 {
    for o in 4 {
      for p.1 in 4 {
        y[a, o, p.1 + 4] = x[a, o, p.1 + 4]
      }
    }
  }
}
"""
SHARED = """\
kernel k {
  in x: f32[2, 5, 8]
  out y: f32[2, 5, 8]
  for a in 2 {
    for o in 4 {
      for p in 2 {
        for p.1 in 2 {
          y[a, o, p * 2 + p.1] = x[a, o, p * 2 + p.1]
        }
      }
      for o.all in 1 {
        for p.1 in 4 {
          y[a, o, p.1 + 4] = x[a, o, p.1 + 4]
        }
      }
    }
  }
"""
REST = """\
  for a in 2 {
    for p in 3 {
      y[a, 4, p] = x[a, 4, p]
    }
  }
  for a in 2 {
    for p in 5 {
      y[a, 4, p + 3] = x[a, 4, p + 3]
    }
  }
}
"""
REST_JOINED = """\
  for a in 2 {
    for p in 3 {
      y[a, 4, p] = x[a, 4, p]
    }
    for p in 5 {
      y[a, 4, p + 3] = x[a, 4, p + 3]
    }
  }
}
"""
NET = """cnn 1
net n {
  input x: f32[N, 128, 7, 7]
  output y = x -> conv(32, 3, pad = 1) -> relu
  weights he(seed = 4)
}
"""


def conv(channels: int, to: int, size: int, rows: int, columns: int, samples: int = 1) -> Graph:
    """A padded convolution as a network of its own."""
    rng = np.random.default_rng(channels + rows)
    shapes = ((samples, channels, rows, columns), (to, channels, size, size), (to,))
    x, *weights = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return single(Conv(to, (size,), pad=Padding("same")), [x], weights)


def layer_of(graph: Graph, target: Target) -> Kernel:
    """The kernel of the convolution."""
    layers = lowered(graph, target).layers
    return next(each.kernel for each in layers if each.node.name == "layer")


def shares_of(kernel: Kernel) -> list[tuple[int, int]]:
    """Tasks of each nest in panels, and rows of tiles that a task has."""
    found: list[tuple[int, int]] = []
    for nest in kernel.body:
        inside = list(walk((nest,)))
        loops = [s for s in inside if isinstance(s, For) and s.kind is Kind.PARALLEL]
        scratch = [
            s.buffer for s in inside if isinstance(s, Alloc) and s.buffer.space is Space.SCRATCH
        ]
        if scratch:
            found.append((int(np.prod([loop.extent for loop in loops])), scratch[0].shape[0]))
    return found


def test_a_band_is_a_nest_and_what_is_left_another() -> None:
    assert print_kernel(cut_bands(parse_kernel(ROWS), "o", "p", 2)) == IN_BANDS


@pytest.mark.parametrize(("with_rest", "rest"), [(False, REST), (True, REST_JOINED)])
def test_nests_in_the_same_panels_and_what_is_left_over(with_rest: bool, rest: str) -> None:
    kernel = share_panels(parse_kernel(NESTS), "a", "o", with_rest=with_rest)
    assert print_kernel(kernel) == SHARED + rest


def test_a_loop_without_rows_is_one_band() -> None:
    kernel = cut_bands(parse_kernel(ROWS), "o", "q", 2)
    assert [s.extent for s in walk(kernel.body) if isinstance(s, For) and s.var == BAND] == [1]


@pytest.mark.parametrize(
    ("cores", "shares"),
    [
        (1, [(1, 7)]),
        (2, [(1, 4), (1, 3)]),  # every other nest from the last core on: one for each
        (3, [(1, 3), (2, 2)]),
        (5, [(3, 2), (1, 1)]),
        (9, [(7, 1)]),
    ],
)
def test_one_tile_of_channels_keeps_all_cores_busy(
    cores: int, shares: list[tuple[int, int]]
) -> None:
    target = replace(named_target("x86-64-v4"), cores=cores)
    assert shares_of(layer_of(conv(128, 32, 3, 7, 7), target)) == shares
    assert longest_share(shares, cores) == -(-7 // cores)


@pytest.mark.parametrize(
    ("to", "samples", "shares"),
    [
        (64, 1, [(2, 7)]),
        (32, 2, [(2, 7)]),
        (256, 1, [(8, 7)]),
        (160, 1, [(5, 4), (5, 3)]),  # five tiles: the third of a core is too much
        (32, 3, [(3, 4), (3, 3)]),
    ],
)
def test_rows_stay_together_where_cores_are_busy(
    to: int, samples: int, shares: list[tuple[int, int]]
) -> None:
    target = replace(named_target("x86-64-v4"), cores=2)
    graph = conv(1024, to, 1, 7, 7, samples)
    assert shares_of(layer_of(graph, target)) == shares


def tasks_of(kernel: Kernel) -> list[tuple[bool, int]]:
    """For each nest whether it is in panels, and its tasks."""
    found = []
    for nest in kernel.body:
        inside = [s for s in walk((nest,)) if isinstance(s, For)]
        parallel = [loop.extent for loop in inside if loop.kind is Kind.PARALLEL]
        found.append((any(loop.var == "ic.0.p" for loop in inside), int(np.prod(parallel))))
    return found


@pytest.mark.parametrize(
    ("layer", "cores", "tasks"),
    [
        ((128, 96, 3, 7, 7), 1, [(True, 4)]),
        ((128, 192, 3, 7, 7), 2, [(True, 8)]),  # eight tiles of channels, four for each core
        # 21: eleven with both lengths are no more than 21 of one or the other; the core that has
        # ten computes a block that is left over
        ((128, 512, 3, 7, 7), 2, [(True, 21), (False, 1)]),
        ((128, 216, 3, 7, 7), 2, [(True, 9), (True, 9)]),  # five with both lengths are too many
        ((128, 64, 3, 7, 7), 1, [(True, 2), (False, 1)]),
        ((128, 64, 3, 7, 7), 2, [(True, 2), (False, 7), (False, 7)]),  # both cores share the rest
        ((128, 96, 3, 7, 7, 3), 2, [(True, 12)]),  # three samples
        ((1024, 64, 1, 5, 7), 2, [(True, 2), (False, 8), (False, 1)]),
        ((128, 48, 3, 7, 7), 8, [(True, 6), (True, 2), (True, 6), (True, 2)]),  # bands
    ],
    ids=str,
)
def test_a_panel_serves_columns_of_all_lengths(
    layer: tuple[int, ...], cores: int, tasks: list[tuple[bool, int]]
) -> None:
    """Rows of seven in tiles of four and three columns: one nest, or one for each length.

    Cores share by rows what channels are left over by the tiles.
    """
    target = replace(named_target("x86-64-v3"), cores=cores)
    kernel = layer_of(conv(*layer), target)
    loops = [s for s in walk(kernel.body) if isinstance(s, For)]
    assert {s.extent for s in loops if s.var in ("ow.1", "position.1")} == {3, 4}
    assert tasks_of(kernel) == tasks


def panels_for(graph: Graph, tile: Tile, target: Target, *, rows_apart: bool = False) -> Panels:
    """How the convolution of a graph takes its weights with some tile."""
    layers = lowered(graph, target).layers
    node = next(each.node for each in layers if each.node.name == "layer")
    return panels_of(node, Form(tile), target, in_one_row=False, rows_apart=rows_apart)


def test_a_band_has_whole_tiles_of_two_rows() -> None:
    target = replace(named_target("x86-64-v4"), cores=2)
    assert panels_for(conv(128, 32, 3, 14, 5), Tile(2, 2, 5), target).band == 4


def test_one_thread_alone_joins_columns() -> None:
    """Where rows are apart, the other cores compute other rows: more tasks are of no use."""
    target, graph = replace(named_target("x86-64-v3"), cores=2), conv(128, 216, 3, 7, 7)
    tile = Tile(3, 1, 4)
    assert not panels_for(graph, tile, target).joined
    assert panels_for(graph, tile, target, rows_apart=True).joined


def test_columns_of_one_length_need_no_joining() -> None:
    target = named_target("x86-64-v3")
    found = panels_for(conv(128, 96, 3, 8, 8), Tile(3, 1, 4), target)
    assert found.blocks
    assert not found.joined


@pytest.mark.parametrize(
    ("backend", "name"),
    [(NATIVE, "native"), (NATIVE, "x86-64-v3"), (INTERP, "x86-64-v4"), (INTERP, "x86-64-v3")],
    ids=["native", "avx2", "interp", "interp-avx2"],
)
@pytest.mark.parametrize(
    "layer",
    [
        (128, 32, 3, 7, 7),
        (128, 32, 3, 8, 5),  # two rows at once
        (128, 32, 3, 5, 9, 2),
        (1024, 32, 1, 13, 3),
        (256, 40, 3, 3, 5),  # a block of channels is left over
        (1024, 48, 1, 5, 7),  # with AVX2 one row, whose last tile is shorter
        (1024, 64, 1, 7, 7),
        (64, 216, 3, 7, 7),  # with AVX2 columns of two lengths, joined or apart
    ],
    ids=str,
)
def test_any_number_of_cores_gives_the_same_bits(
    layer: tuple[int, ...], backend: Backend, name: str
) -> None:
    target = named_target(name)
    if backend is NATIVE and not runs_here(target):
        pytest.skip(f"this machine does not run {name} code")
    graph = conv(*layer)
    node = next(each for each in graph.nodes if isinstance(each.op, Conv))
    x = np.random.default_rng(1).standard_normal(node.inputs[0].type.shape).astype(np.float32)
    threads = (1, 2, 3, 5, 8) if backend is NATIVE else (1, 2, 3)
    one, *others = [
        run(graph, [x], backend, replace(target, cores=count), count)[0] for count in threads
    ]
    if name == "x86-64-v4":
        whole, cut = (
            shares_of(layer_of(graph, replace(target, cores=count))) for count in (1, threads[-1])
        )
        assert cut != whole
    operands = [x, *(each.op.value for each in node.inputs[1:])]
    exact = node.op.reference(*(each.astype(np.float64) for each in operands))
    assert_within(node.op, one, exact, operands)
    for count, other in zip(threads[1:], others, strict=True):
        np.testing.assert_array_equal(other, one, f"{count} threads")


MORE = [
    pytest.param("x -> conv(32, 3, stride = 2, pad = 1) -> relu", "128, 14, 14", id="stride"),
    pytest.param(
        "(x -> conv(32, 3, pad = [[3, 1], [2, 2]], dilation = 2)) + (x -> conv(32, 1))",
        "128, 7, 7",
        id="residual",
    ),
    pytest.param("concat { x -> conv(32, 3, pad = 1) | x }", "128, 7, 7", id="in-a-concat"),
]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("backend", ["native", "c"])
@pytest.mark.parametrize(("body", "shape"), MORE)
def test_layers_of_all_kinds_are_cut(body: str, shape: str, backend: str, dtype: str) -> None:
    text = (
        f"cnn 1\nnet n {{\n  input x: {dtype}[1, {shape}]\n  output y = {body}\n"
        "  weights he(seed = 4)\n}\n"
    )
    model = cnnc.load_text(text)
    x = np.random.default_rng(2).standard_normal(model.graph.inputs[0].type.shape)
    x = x.astype({"f32": np.float32, "f64": np.float64}[dtype])
    one = model.compile(backend=backend, threads=1)
    for threads in (2, 3, 5):
        made = model.compile(backend=backend, threads=threads)
        np.testing.assert_array_equal(made(x)["y"], one(x)["y"], f"{threads} threads")
        if made.target.vector_bits == 512 and threads == 3:
            shares, whole = (
                [shares_of(layer.kernel) for layer in each.lowered.layers] for each in (made, one)
            )
            assert shares != whole


def test_a_sample_that_is_apart_is_one_threads() -> None:
    target = replace(named_target("x86-64-v4"), cores=2)
    graph = replace(conv(128, 32, 3, 7, 7), is_apart=True)
    layers = lower(assign_layouts(graph, target), target).layers
    kernel = next(each.kernel for each in layers if each.node.name == "layer")
    assert shares_of(kernel) == [(1, 7)]


def test_any_number_of_samples_is_shared_so() -> None:
    model = cnnc.load_text(NET)
    x = np.random.default_rng(3).standard_normal((3, 128, 7, 7)).astype(np.float32)
    alone = model.compile(batch=1, threads=1)
    for threads in (1, 2, 3, 5):
        made = model.compile(batch=(1, 3), threads=threads)
        for samples in (1, 2, 3):
            found = made({"x": x[:samples]})["y"]
            for sample in range(samples):
                np.testing.assert_array_equal(
                    found[sample], alone({"x": x[sample : sample + 1]})["y"][0]
                )
