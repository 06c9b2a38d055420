"""Prefetching: what is fetched, and how often."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnc.backends.native.targets import named_target
from cnnc.base.dtype import DType
from cnnc.base.target import LINE
from cnnc.ir.types import TensorType
from cnnc.loop.expr import Binary, Const, Expr, Load, Var
from cnnc.loop.kernel import Body, For, Kernel, Prefetch, expressions, walk
from cnnc.loop.parse import parse_kernel
from cnnc.loop.rewrite import parts
from cnnc.loop.text import print_kernel
from cnnc.lowering.flatten import flatten
from cnnc.lowering.hints import prefetch_ahead, prefetch_next
from cnnc.lowering.loops import ScheduleError, substitute
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
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


def test_the_next_iteration_is_fetched() -> None:
    text = "kernel k {\n in x: f32[6]\n out y: f32[1]\n register acc: f32[]\n acc[] = 0.0\n"
    sums = parse_kernel(text + "for r in 6 reduce { acc[] = acc[] + x[r] }\n y[0] = acc[]\n}")
    assert hints_of(prefetch_next(sums, "x", "r", [])) == ["prefetch x[r + 1]"]


def test_what_is_not_read_cannot_be_fetched() -> None:
    with pytest.raises(ScheduleError, match="z is not read"):
        prefetch_next(parse_kernel(TILES), "z", "c.0", ["w.1"])
    with pytest.raises(ScheduleError, match="no loop p"):
        prefetch_ahead(parse_kernel(TILES), "weight", "c.0", ["c.1"], ahead="p", lanes=8)


def test_a_line_of_inputs_is_fetched_once() -> None:
    """Two positions of eight channels each share it."""
    assert hints_of(prefetch_next(parse_kernel(TILES), "x", "c.0", ["w.1"])) == [
        "prefetch x[0, (c.0 + 1) * 8, h, w.0 * 4]",
        "prefetch x[0, (c.0 + 1) * 8, h, w.0 * 4 + 2]",
    ]


def test_lines_that_tiles_begin_within_are_fetched() -> None:
    """Of seven columns a row begins in the middle of a line, and its second position behind it."""
    tiles = TILES.replace("2, 8] @", "2, 7] @").replace("w.0 in 2", "w.0 in 3")
    tiles = tiles.replace("w.1 in 4", "w.1 in 2").replace("w.0 * 4", "w.0 * 2")
    assert hints_of(prefetch_next(parse_kernel(tiles), "x", "c.0", ["w.1"])) == [
        "prefetch x[0, (c.0 + 1) * 8, h, w.0 * 2]",
        "prefetch x[0, (c.0 + 1) * 8, h, w.0 * 2 + 1]",
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
    "pointwise": (Conv(96, (1,), bias=False), (64, 4, 7)),
    "pointwise in a row": (Conv(96, (1,), bias=False), (64, 5, 5)),
    "window": (Conv(96, (3,), pad=Padding("same"), bias=False), (32, 4, 7)),
    "phases": (ConvTranspose(96, (4,), stride=(2,), bias=False), (64, 6, 6)),
    "few rows": (Conv(96, (3,), stride=(2,), pad=Padding("same"), bias=False), (32, 3, 3)),
}


@pytest.mark.parametrize("family", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("name", LAYERS)
def test_all_weights_of_the_next_channels_are_fetched(family: str, name: str) -> None:
    """Every line of them is, by some position, while those of the channels before are used."""
    op, shape = LAYERS[name]
    x = TensorType.plain((1, *shape), DType.F32)
    weight = np.zeros(op.parameters(x)[0].type.shape, np.float32)
    graph = single(op, [np.zeros((1, *shape), np.float32)], [weight])
    target = replace(named_target(family), l2_bytes=1 << 16)
    layers = lowered(graph, target).layers
    kernel = flatten(next(each.kernel for each in layers if each.node.name == "layer"))
    found = False
    for nest in kernel.body:
        loop = _loop_ahead(nest.body) if isinstance(nest, For) else None
        if loop and loop.extent > 1:
            found = True
            second = substitute(loop.body, {loop.var: Const(1)})
            fetched = set(_lines(substitute(loop.body, {loop.var: Const(0)}), {}, hints=True))
            read = set(_lines(second, {}, hints=False))
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


def _lines(body: Body, extents: Mapping[str, int], *, hints: bool) -> Iterator[int]:
    """Lines of the weights that hints, or loads, touch in all iterations of all loops."""
    for stmt in body:
        if isinstance(stmt, For):
            yield from _lines(stmt.body, {**extents, stmt.var: stmt.extent}, hints=hints)
        elif isinstance(stmt, Prefetch):
            if hints and stmt.later:
                yield from _touched(stmt.index[0], extents)
        elif not hints:
            for expr in expressions((stmt,)):
                for part in parts(expr):
                    if isinstance(part, Load) and part.buffer.name == "weight":
                        yield from _touched(part.index[0], extents)


def _touched(index: Expr, extents: Mapping[str, int]) -> Iterator[int]:
    """Lines that an index lies in for all values of its variables, as far as these have extents."""
    names = list({part.name for part in parts(index) if isinstance(part, Var)})
    ranges = np.ix_(*(np.arange(extents.get(name, 1)) for name in names))
    yield from np.unique(_value(index, dict(zip(names, ranges, strict=True))) * 4 // LINE)


def _value(index: Expr, values: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    match index:
        case Const(value):
            return np.array(int(value))
        case Var(name):
            return values[name]
        case Binary("add", left, right):
            return _value(left, values) + _value(right, values)
        case Binary("mul", left, right):
            return _value(left, values) * _value(right, values)
        case Binary("floordiv", left, right):
            return _value(left, values) // _value(right, values)
        case Binary("mod", left, right):
            return _value(left, values) % _value(right, values)
    raise TypeError(index)
