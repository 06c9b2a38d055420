"""Prefetching: what is fetched, and how often."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from cnnc.backends.native.targets import named_target
from cnnc.base.target import LINE
from cnnc.loop.expr import Expr, Load, Var
from cnnc.loop.interval import bounds
from cnnc.loop.kernel import Body, For, Kernel, Prefetch, expressions, walk
from cnnc.loop.parse import parse_kernel
from cnnc.loop.rewrite import parts
from cnnc.loop.text import print_kernel
from cnnc.lowering.flatten import flatten
from cnnc.lowering.hints import prefetch_ahead, prefetch_next
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from tests.backends.support import lowered, single

TILES = """\
kernel k {
  in x: f32[1, 32, 2, 8] @ aBcd8b
  in weight: f32[32, 32, 1, 1] @ ABcd8b16a
  out y: f32[1, 32, 2, 8] @ aBcd8b
  for o in 2 parallel {
    for h in 2 parallel {
      for w.0 in 2 parallel {
        register acc: f32[4, 2, 8]
        for w.1 in 4 unrolled {
          for o.1 in 2 unrolled {
            for o.2 in 8 vector {
              acc[w.1, o.1, o.2] = 0.0
            }
          }
        }
        for c.0 in 4 reduce {
          for c.1 in 8 reduce unrolled {
            for w.1 in 4 unrolled {
              for o.1 in 2 unrolled {
                for o.2 in 8 vector {
                  acc[w.1, o.1, o.2] = fma(weight[o * 16 + o.1 * 8 + o.2, c.0 * 8 + c.1, 0, 0], \
x[0, c.0 * 8 + c.1, h, w.0 * 4 + w.1], acc[w.1, o.1, o.2])
                }
              }
            }
          }
        }
        for w.1 in 4 unrolled {
          for o.1 in 2 unrolled {
            for o.2 in 8 vector {
              y[0, o * 16 + o.1 * 8 + o.2, h, w.0 * 4 + w.1] = acc[w.1, o.1, o.2]
            }
          }
        }
      }
    }
  }
}
"""


def hints_of(kernel: Kernel) -> list[str]:
    """The hints as text."""
    lines = print_kernel(kernel).splitlines()
    return [line.strip() for line in lines if "prefetch" in line]


def test_a_line_of_inputs_is_fetched_once() -> None:
    """Two positions of eight channels each share it."""
    assert hints_of(prefetch_next(parse_kernel(TILES), "x", "c.0", ["w.1"])) == [
        "prefetch x[0, (c.0 + 1) * 8, h, w.0 * 4]",
        "prefetch x[0, (c.0 + 1) * 8, h, w.0 * 4 + 2]",
    ]


def test_rows_fetch_parts_of_the_next_weights() -> None:
    """Two rows: the first takes the even half of eight channels, the second the other."""
    made = prefetch_ahead(parse_kernel(TILES), "weight", "c.0", ["c.1", "o.1"], ahead="o", lanes=8)
    assert hints_of(made) == [
        "prefetch later weight[(o + 1) * 16, c.0 * 8 + h % 2 * 4, 0, 0]",
        *(
            f"prefetch later weight[(o + 1) * 16, c.0 * 8 + h % 2 * 4 + {place}, 0, 0]"
            for place in (1, 2, 3)
        ),
    ]


def test_where_a_vector_is_a_line_every_position_fetches_all() -> None:
    made = prefetch_ahead(parse_kernel(TILES), "weight", "c.0", ["c.1", "o.1"], ahead="o", lanes=16)
    assert len(hints_of(made)) == 8
    assert "h" not in "".join(hint.partition("[")[2] for hint in hints_of(made))


LAYERS = {
    "pointwise": (Conv(512, (1,), bias=False), (256, 8, 7)),
    "pointwise in a row": (Conv(512, (1,), bias=False), (256, 5, 5)),
    "window": (Conv(128, (3,), pad=Padding("same"), bias=False), (128, 6, 7)),
    "few rows": (Conv(256, (3,), stride=(2,), pad=Padding("same"), bias=False), (128, 3, 3)),
}


@pytest.mark.parametrize("family", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("name", LAYERS)
def test_all_weights_of_the_next_channels_are_fetched(family: str, name: str) -> None:
    """Every line of them is, by some position, while those of the channels before are used."""
    op, shape = LAYERS[name]
    weight = np.zeros((op.channels, shape[0], *op.kernel * (2 // len(op.kernel))), np.float32)
    graph = single(op, [np.zeros((1, *shape), np.float32)], [weight])
    layers = lowered(graph, named_target(family)).layers
    kernel = flatten(next(each.kernel for each in layers if each.node.name == "layer"))
    found = False
    for nest in kernel.body:
        loop = _loop_ahead(nest.body) if isinstance(nest, For) else None
        if loop and loop.extent > 2:
            found = True
            fetched = set(_lines(loop.body, {loop.var: 0}, hints=True))
            read = set(_lines(loop.body, {loop.var: 1}, hints=False))
            assert read
            assert read <= fetched
    assert found


def _loop_ahead(body: Body) -> For | None:
    """The loop of a nest whose next iteration hints are about."""
    hints = [stmt for stmt in walk(body) if isinstance(stmt, Prefetch) and stmt.later]
    if not hints:
        return None
    names = {part.name for part in parts(hints[0].index[0]) if isinstance(part, Var)}
    loops = [stmt for stmt in walk(body) if isinstance(stmt, For) and stmt.var in names]
    for name in ("ic.0.p", "oc.0"):
        for loop in loops:
            if loop.var == name:
                return loop
    return None


def _lines(body: Body, values: Mapping[str, int], *, hints: bool) -> Iterator[int]:
    """Lines of the weights that hints, or loads, of all iterations touch; other loops are at 0."""
    for stmt in body:
        if isinstance(stmt, For):
            for at in range(stmt.extent):
                yield from _lines(stmt.body, {**values, stmt.var: at}, hints=hints)
        elif isinstance(stmt, Prefetch):
            if hints and stmt.later:
                yield _line(stmt.index[0], values)
        elif not hints:
            for expr in expressions((stmt,)):
                for part in parts(expr):
                    if isinstance(part, Load) and part.buffer.name == "weight":
                        yield _line(part.index[0], values)


def _line(index: Expr, values: Mapping[str, int]) -> int:
    ranges = {name: (value, value) for name, value in values.items()}
    names = {part.name for part in parts(index) if isinstance(part, Var)}
    ranges |= dict.fromkeys(names - values.keys(), (0, 0))
    low, high = bounds(index, ranges)
    assert low == high
    return low * 4 // LINE
