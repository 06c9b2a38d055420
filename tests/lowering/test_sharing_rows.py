"""Which loops threads share, and from which end."""

from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc.backends.native.targets import named_target
from cnnc.loop.kernel import For, Kernel
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.lowering.sharing_rows import begins_with_rows, share_rows, turn_uneven
from cnnc.offers.shares import longest_share, shares_rows
from cnnc.ops.conv import Conv
from tests.backends.support import lowered, single

KERNEL = """\
kernel k {{
  in x: f32[{samples}, 6, {rows}, 5]
  out y: f32[{samples}, 6, {rows}, 5]
  for n in {samples} parallel {{
    for c in 6 parallel {{
      for h in {rows}{kind} {{
        for w in 5 {{
          y[n, c, h, w] = x[n, c, h, w]
        }}
      }}
    }}
  }}
}}
"""
BY_ROWS = """\
kernel k {{
  in x: f32[1, 6, 8, 5]
  out y: f32[1, 6, 8, 5]
  for n in 1 parallel {{
    for h.part in {parts} parallel {{
      for c in 6 parallel {{
        for h in {rows}{kind} {{
          for w in 5 {{
            y[n, c, h.part * {rows} + h, w] = x[n, c, h.part * {rows} + h, w]
          }}
        }}
      }}
    }}
  }}
}}
"""
VOLUME = """\
kernel k {
  in x: f32[1, 6, 2, 8, 5]
  out y: f32[1, 6, 2, 8, 5]
  for c in 6 parallel {
    for d in 2 parallel {
      for h in 8 parallel {
        for w in 5 {
          y[0, c, d, h, w] = x[0, c, d, h, w]
        }
      }
    }
  }
}
"""
NESTS = """\
kernel k {
  in x: f32[4, 8]
  out y: f32[4, 8]
  for a in 3 parallel {
    y[a, 0] = x[a, 0]
  }
  for b in 4 parallel {
    y[b, 1] = x[b, 1]
  }
  for c in 2 parallel {
    for d in 2 {
      y[c * 2 + d, 2] = x[c, 2]
    }
  }
  for e in 1 parallel {
    y[e, 3] = x[e, 3]
  }
  y[0, 5] = x[0, 5]
  for f in 4 parallel {
    for g in 3 parallel {
      y[f, g + 5] = x[f, g + 5]
    }
  }
}
"""


def copy(rows: int, samples: int = 1, kind: str = " parallel") -> Kernel:
    """A copy of maps of six channels, with a loop over rows of some kind."""
    return parse_kernel(KERNEL.format(rows=rows, samples=samples, kind=kind))


def shared(kernel: Kernel, cores: int) -> Kernel:
    """The kernel with its rows shared."""
    return share_rows(kernel, kernel.params[-1], cores)


@pytest.mark.parametrize("cores", [2, 4])
def test_a_part_of_the_rows_is_outermost(cores: int) -> None:
    text = BY_ROWS.format(parts=cores, rows=8 // cores, kind=" parallel")
    assert print_kernel(shared(copy(8), cores)) == text


def test_three_cores_share_the_channels_of_half_the_rows() -> None:
    (samples,) = shared(copy(14), 6).body
    assert isinstance(samples, For)
    (part,) = samples.body
    assert isinstance(part, For)
    assert (part.var, part.extent) == ("h.part", 2)


def test_rows_that_were_not_shared_are_cut_too() -> None:
    text = BY_ROWS.format(parts=2, rows=4, kind="")
    assert print_kernel(shared(copy(8, kind=""), 2)) == text


@pytest.mark.parametrize(
    ("rows", "samples", "cores"),
    [(7, 1, 2), (2, 1, 2), (8, 2, 2), (8, 1, 1)],
    ids=["odd rows", "few rows", "a sample for each core", "one core"],
)
def test_other_loops_stay(rows: int, samples: int, cores: int) -> None:
    kernel = copy(rows, samples)
    assert shared(kernel, cores) == kernel


def test_samples_whose_number_is_not_known_leave_rows_to_be_shared() -> None:
    kernel = copy(8, samples=2)
    (nest,) = share_rows(kernel, kernel.params[-1], 2, any_samples=True).body
    assert isinstance(nest, For)
    (part,) = nest.body
    assert isinstance(part, For)
    assert (nest.var, part.var) == ("n", "h.part")


@pytest.mark.parametrize("batch", [2, (1, 2)], ids=str)
def test_a_range_of_samples_is_shared_by_rows(batch: int | tuple[int, int]) -> None:
    text = "cnn 1\nnet n {\n  input x: f32[N, 64, 14, 14]\n  output y = x -> conv(64, 1)\n"
    model = cnnc.load_text(text + "  weights he\n}\n", batch=batch)
    layers = model.compile("x86-64-v4", backend="interp", threads=2).lowered.layers
    (kernel,) = [each.kernel for each in layers if each.node.name == "y"]
    assert begins_with_rows(kernel, kernel.params[-1]) is isinstance(batch, tuple)


def test_a_short_axis_before_the_rows_is_not_cut() -> None:
    (nest,) = shared(parse_kernel(VOLUME), 2).body
    assert isinstance(nest, For)
    assert nest.var == "h.part"


def test_rows_that_are_outermost_already_stay() -> None:
    kernel = shared(copy(8), 2)
    out = kernel.params[-1]
    assert begins_with_rows(kernel, out)
    assert not begins_with_rows(copy(8), out)
    assert shared(kernel, 2) == kernel


def turned(kernel: Kernel) -> str:
    """The variables of the nests that are."""
    return "".join(nest.var for nest in kernel.body if isinstance(nest, For) and nest.turned)


@pytest.mark.parametrize(
    ("cores", "any_samples", "expected"),
    [(2, False, "e"), (3, False, "c"), (4, False, "c"), (2, True, "be")],
)
def test_every_other_uneven_nest_is_turned(cores: int, any_samples: bool, expected: str) -> None:
    found = turn_uneven(parse_kernel(NESTS), cores, any_samples=any_samples)
    assert turned(found) == expected
    assert parse_kernel(print_kernel(found)) == found


def test_uneven_nests_make_up_for_each_other() -> None:
    assert longest_share([(3, 1.0), (4, 1.0), (3, 1.0)], 2) == 5
    assert longest_share([(3, 1.0), (3, 1.0), (3, 1.0)], 2) == 5
    assert longest_share([(4, 1.0), (4, 1.0)], 3) == 3


@pytest.mark.parametrize(
    ("channels", "to", "size", "by_rows"),
    [(64, 64, 14, True), (512, 512, 14, True), (512, 512, 2, False), (16, 16, 4, True)],
)
def test_all_weights_are_read_where_they_are_in_time(
    channels: int, to: int, size: int, by_rows: bool
) -> None:
    target = replace(named_target("x86-64-v4"), cores=2)
    random = np.random.default_rng(0)
    x = random.standard_normal((1, channels, size, size), np.float32)
    weight = random.standard_normal((to, channels, 1, 1), np.float32)
    graph = single(Conv(to, (1,)), [x], [weight, np.zeros(to, np.float32)])
    (layer,) = [each for each in lowered(graph, target).layers if "conv" in each.node.op.name]
    assert shares_rows(layer.node, target) is by_rows
    kernel = layer.kernel
    assert begins_with_rows(kernel, kernel.params[-1]) is (by_rows and size > 2)
