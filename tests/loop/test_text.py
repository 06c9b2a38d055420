"""Kernels print, and read back as they were."""

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnc.backends.native.targets import named_target
from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.loop.expr import (
    Binary,
    Buffer,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Lanes,
    Local,
    Select,
    Var,
    call,
)
from cnnc.loop.kernel import For, Kernel, Let, Origin, Store
from cnnc.loop.parse import LoopTextError, parse_kernel
from cnnc.loop.text import print_kernel, print_program
from tests.backends.support import lowered, single
from tests.loop.indices import EXTENTS, Plan, build, plans
from tests.loop.kernels import forms
from tests.ops.cases import CASES, Case

TEXT = """\
kernel conv {
  layer "body.\\"0\\" ↦ π"
  op "conv(4, 3)"
  macs 576
  in x: f32[1, 2, 8] @ aBc2b+c1:1
  in bias: f32[4]
  out y: f32[1, 4, 8]
  for oc in 4 parallel by 2 {
    for ol.0 in 2 {
      register acc: f32[4]
      for ol.1 in 4 unrolled {
        acc[ol.1] = bias[oc]
      }
      for ic in 2 reduce {
        prefetch x[0, ic + 1, ol.0 * 4]
        for ol.1 in 4 vector {
          let v = x[0, ic, ol.0 * 4 + ol.1 - 1]
          acc[ol.1] = fma(v, -1.5e-05, acc[ol.1] + (v - 2.0) * v)
        }
      }
      for ol.1 in 4 {
        y[0, oc, ol.0 * 4 + ol.1] = select(0.0 < acc[ol.1] or (ol.0 + 1) % 3 <= 1 and ol.0 == 0, \
max(acc[ol.1], -inf), f32(f64(acc[ol.1]) / 3.0:f64))
      }
    }
  }
}
"""


def test_text_reads_and_prints_the_same() -> None:
    assert print_kernel(parse_kernel(TEXT)) == TEXT


def test_text_means_what_it_says() -> None:
    kernel = parse_kernel(TEXT)
    assert kernel.origin == Origin("conv(4, 3)", 'body."0" ↦ π', macs=576)
    assert kernel.outputs == ("y",)
    assert kernel.params[0] == Buffer("x", (1, 2, 8), DType.F32, Layout.parse("aBc2b+c1:1"))
    nest = kernel.body[0]
    assert isinstance(nest, For)
    assert (nest.var, nest.extent, nest.kind.value, nest.reduces) == ("oc", 4, "parallel", False)
    assert nest.grain == 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_of_all_operators_come_back(case: Case) -> None:
    for kernel in forms(case):
        assert parse_kernel(print_kernel(kernel)) == kernel


X, Y = (Buffer(name, (4,), DType.F32, Layout.plain(1)) for name in "xy")


def around(value: Expr) -> Kernel:
    """A kernel that stores a value of the variables of `indices` and of a let `v`."""
    body: For | Store = Store(Y, (Const(0),), value)
    nest = (Let("v", X[1]), body)
    for name, extent in EXTENTS.items():
        nest = (For(name, extent, nest),)
    return Kernel("k", (X, Y), ("y",), nest)


@given(plans)
def test_indices_come_back(plan: Plan) -> None:
    kernel = around(Cast(build(plan), DType.F32))
    assert parse_kernel(print_kernel(kernel)) == kernel


places = st.lists(st.integers(0, 7), min_size=2, max_size=4)


def _values(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    conditions = st.builds(Compare, st.sampled_from(["lt", "le", "eq", "ne"]), parts, parts)
    both = st.builds(Binary, st.sampled_from(["and", "or"]), conditions, conditions)
    return st.one_of(
        st.builds(
            Binary, st.sampled_from(["add", "sub", "mul", "div", "min", "max"]), parts, parts
        ),
        st.builds(Fma, parts, parts, parts),
        st.builds(Select, st.one_of(conditions, both), parts, parts),
        st.builds(lambda part: call("ldexp", part, part), parts),
        st.builds(lambda part: Cast(Cast(part, DType.F64), DType.F32), parts),
        st.builds(lambda a, b, places: Lanes((a, b), tuple(places)), parts, parts, places),
    )


numbers = st.floats(width=32, allow_nan=False).map(lambda number: Const(number, DType.F32))
leaves = st.one_of(
    numbers,
    st.just(X[Var("a") + 1]),
    st.just(Local("v", DType.F32)),
    st.just(Const(nan, DType.F32)),
    st.just(Const(-inf, DType.F32)),
)


@given(st.recursive(leaves, _values, max_leaves=10))
def test_values_come_back(value: Expr) -> None:
    kernel = around(value)
    assert parse_kernel(print_kernel(kernel)) == kernel


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("y[0] = z[0]", "line 4, column 8: no buffer is called z"),
        ("z[0] = 1.0", "line 4, column 1: no buffer is called z"),
        ("y[i] = 1.0", "line 4, column 3: no value is called i"),
        ("y[0] = sine(1.0)", "line 4, column 8: no function sine of 1 operands"),
        ("y[0] = fma(1.0, 2.0)", "no function fma of 2 operands"),
        ("y[0] = 1.0:f31", "unknown element type f31"),
        ("register r: f31[2]", "unknown element type f31"),
        ("register r: f32[2, 2] @ aa", "invalid layout 'aa'"),
        ("y[0] = (1.0", "line 5, column 1"),
        ("y[0] = 0.0 < 1.0 < 2.0", "line 4, column 18"),
        ("for i in 3 { let v = 1.0 } y[0] = v", "no value is called v"),
        ("for i in 3 sideways { }", "line 4, column 12"),
        ("y[0] = 1.0 $", "line 4, column 12"),
    ],
)
def test_what_is_wrong_is_named(line: str, message: str) -> None:
    with pytest.raises(LoopTextError, match=message.replace("(", r"\(")):
        parse_kernel(f"kernel k {{\nin x: f32[4]\nout y: f32[4]\n{line}\n}}")


def test_program_shows_steps_and_memory() -> None:
    case = next(case for case in CASES if case.op.name == "conv" and len(case.operands) == 3)
    graph = single(case.op, case.operands[:1], case.operands[1:])
    program = lowered(graph, named_target("x86-64")).program
    text = print_program(program)
    assert f"arena {program.arena_bytes} bytes" in text
    assert f"weights {program.weights_bytes} bytes" in text
    assert text.count("barrier") == sum(step.barrier for step in program.steps)
    for kernel in program.kernels:
        assert print_kernel(kernel) in text
    renamed = replace(program, outputs=(replace(program.outputs[0], name="logits"),))
    assert "y = logits)" in print_program(renamed)
