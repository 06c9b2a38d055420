"""Each rule for kernels is broken once; what operators and lowering make breaks none."""

import time
from dataclasses import replace

import pytest

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.loop.expr import (
    Binary,
    Buffer,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Lanes,
    Load,
    Local,
    Ramp,
    Select,
    Space,
    Var,
)
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Let, Store, register
from cnnc.loop.parse import parse_kernel
from cnnc.loop.verify import MAX_REGISTER_BYTES, LoopError, verify_kernel
from tests.loop.kernels import forms
from tests.ops.cases import CASES, Case

PARAMS = "in x: f32[4, 6]\nin b: f32[2, 8] @ aB4b\nout y: f32[4, 6]"


def kernel(body: str, params: str = PARAMS) -> Kernel:
    """A kernel from the text of its statements."""
    return parse_kernel(f"kernel k {{\n{params}\n{body}\n}}")


def rule_broken(broken: Kernel) -> str:
    """The rule that the kernel breaks; the message shows rule and kernel."""
    with pytest.raises(LoopError) as caught:
        verify_kernel(broken)
    assert str(caught.value).startswith(f"rule `{caught.value.rule}` is broken in kernel k: ")
    return caught.value.rule


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_of_all_operators_are_right(case: Case) -> None:
    for each in forms(case):
        verify_kernel(each)


COPY = "for i in 4 { for j in 6 { y[i, j] = x[i, j] } }"
GOOD = {
    "copy": COPY,
    "parallel": COPY.replace("in 4", "in 4 parallel"),
    "turned": COPY.replace("in 4", "in 4 turned parallel"),
    "handed out": COPY.replace("in 4", "in 4 parallel by 2"),
    "unrolled and vector": COPY.replace("in 4", "in 4 unrolled").replace("in 6", "in 6 vector"),
    "split": "for i in 4 { for j.0 in 2 { for j.1 in 3 { y[i, j.0 * 3 + j.1] = 0.0 } } }",
    "split with remainder": """for i in 4 {
        for j.0 in 1 { for j.1 in 4 { y[i, j.0 * 4 + j.1] = 0.0 } }
        for j.1 in 2 { y[i, j.1 + 4] = 0.0 } }""",
    "two nests": "for i in 4 { for j in 2 { y[i, j + 4] = 0.0 } }\n"
    "for i in 4 { for j in 4 { y[i, j] = 0.0 } }",
    "counted": "for e in 24 { y[e // 6, e % 6] = x[e // 6, e % 6] }",
    "counted around one iteration": """for a in 1 { for e in 24 {
        y[(a + e) // 6, (a + e) % 6] = 0.0 } }""",
    "strided": "for i in 4 { for p in 2 { for j in 3 { y[i, j * 2 + p] = 0.0 } } }",
    "strided apart": """for i in 4 { for j in 3 { y[i, j * 2] = 0.0 } }
        for i in 4 { for j in 3 { y[i, j * 2 + 1] = 0.0 } }""",
    "accumulator": """for i in 4 { for j in 6 {
        register acc: f32[] acc[] = 0.0
        for k in 6 reduce { acc[] = acc[] + x[i, k] }
        y[i, j] = acc[] } }""",
    "guarded": "for i in 4 { for j in 6 { "
    "y[i, j] = select(j < 5, x[i, min(max(j + 1, 0), 5)], 0.0) } }",
    "padding": "for i in 4 { for j in 6 { y[i, j] = b[i // 2, j + 2] } }",
    "own result": "for i in 4 { for j in 6 { y[i, j] = 1.0 } for j in 6 { let v = y[i, 0] } }",
}


@pytest.mark.parametrize("name", GOOD)
def test_right_kernels_pass(name: str) -> None:
    verify_kernel(kernel(GOOD[name]))


HALO = "in x: f32[4, 6]\nout y: f32[4, 6] @ ab+b1:2"
BROKEN = {
    "bounds": [
        COPY.replace("in 6 {", "in 7 {"),
        COPY.replace("x[i, j]", "x[i, j - 1]"),
        COPY.replace("x[i, j]", "x[j, i]"),
        COPY.replace("x[i, j]", "b[i // 2, j + 3]"),
        COPY.replace("x[i, j]", "x[i, select(j < 5, j, 6)]"),
    ],
    "once": [
        "for i in 3 { for j in 6 { y[i, j] = 0.0 } }",
        "for i in 4 { for j in 5 { y[i, j] = 0.0 } }",
        f"{COPY} for k in 1 {{ y[3, 5] = 0.0 }}",
        f"for k in 2 {{ {COPY} }}",
        f"for k in 2 reduce {{ {COPY} }}",
        "for i in 4 { for j in 6 { y[i, min(j, 4)] = 0.0 } }",
        "for i in 4 { for j in 6 { y[i, j // 2] = 0.0 } }",
        "for i in 4 { for j.0 in 3 { for j.1 in 3 { y[i, j.0 + j.1] = 0.0 } } }",
        "for i in 4 { for j in 3 { y[i, j * 2] = 0.0 } }",
    ],
    "outputs": [
        COPY.replace("y[i, j] =", "x[i, j] ="),
        "for i in 4 { for j in 6 { let v = x[i, j] } }",
    ],
    "names": [
        "for i in 4 { for i in 6 { y[0, i] = 0.0 } }",
        "for x in 4 { for j in 6 { y[x, j] = 0.0 } }",
        "for i in 4 { for j in 6 { let v = 1.0 let v = 2.0 y[i, j] = v } }",
        "for i in 4 { for j in 6 { let i = 1.0 y[0, j] = i } }",
        "for i in 4 { register y: f32[] }",
    ],
    "registers": [
        "for i in 4 { register r: f32[] for j in 6 { y[i, j] = r[] } }",
        "for i in 4 { register r: f32[2048, 2] for j in 6 { y[i, j] = 0.0 } }",
        "for i in 4 { register r: f32[2, 2] @ ba for j in 6 { y[i, j] = 0.0 } }",
    ],
    "loops": [
        COPY.replace("in 6", "in 6 reduce vector"),
        COPY.replace("in 4", "in 4 reduce parallel"),
        """for i in 4 { for j in 6 { register acc: f32[] acc[] = 0.0
            for k in 6 { acc[] = acc[] + x[i, k] } y[i, j] = acc[] } }""",
        f"{COPY} for i in 0 {{ let v = 1.0 }}",
    ],
    "parallel": [
        COPY.replace("in 6", "in 6 parallel"),
        COPY.replace("in 4", "in 4 turned"),
        COPY.replace("in 4", "in 4 by 2"),
        COPY.replace("in 4", "in 4 parallel").replace("in 6", "in 6 parallel by 2"),
        COPY.replace("in 4", "in 4 parallel").replace("in 6", "in 6 turned parallel"),
        "for i in 4 { for j in 6 { y[i, j] = 0.0 } } for i in 4 { let v = y[i, 0] }",
        "register r: f32[] for i in 4 parallel { r[] = 0.0 for j in 6 { y[i, j] = r[] } }",
    ],
    "vectors": [
        "for i in 4 vector { for j in 6 { y[i, j] = 0.0 } }",
        "for i in 4 { for j in 6 { register r: f32[] for k in 2 vector { r[] = 0.0 } "
        "y[i, j] = r[] } }",
    ],
}


@pytest.mark.parametrize(
    ("rule", "body"), [(rule, body) for rule, bodies in BROKEN.items() for body in bodies]
)
def test_broken_rule_is_named(rule: str, body: str) -> None:
    assert rule_broken(kernel(body)) == rule


def test_message_shows_the_statement() -> None:
    with pytest.raises(LoopError) as caught:
        verify_kernel(kernel(COPY.replace("x[i, j]", "x[i, j + 2]")))
    assert str(caught.value) == (
        "rule `bounds` is broken in kernel k: j + 2 of x: f32[4, 6] runs from 2 to 7, "
        "memory from 0 to 5; at `y[i, j] = x[i, j + 2]`"
    )


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("for i in 4 { for j in 6 { y[i, j] = 1.0 } }", None),
        ("for i in 4 { for j in 9 { y[i, j - 1] = 1.0 } }", None),
        ("for i in 4 { for j in 9 { y[i, j] = 1.0 } }", "bounds"),
        ("for i in 4 { for j in 6 { y[i, j - 1] = 1.0 } }", "once"),
    ],
)
def test_halo_may_be_stored_but_the_tensor_must(body: str, rule: str | None) -> None:
    if rule:
        assert rule_broken(kernel(body, HALO)) == rule
    else:
        verify_kernel(kernel(body, HALO))


FLAT = "in x: f32[24]\nout y: f32[24]"


@pytest.mark.parametrize(
    "body",
    [
        "for i in 4 { y[i * 6 :+ 4] = x[i * 6 :+ 4] }",
        "for i in 4 { y[i * 6 :+ 3 by 2] = 0.0 }",
        "for i in 4 { y[i :+ 4 by 4] = x[i :+ 4] } for k in 4 { y[k * 2 + 17] = 0.0 }",
    ],
)
def test_flat_kernels_need_not_store_what_is_no_element(body: str) -> None:
    verify_kernel(kernel(body, FLAT))


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("for i in 4 { y[i * 3 :+ 4] = 0.0 }", "once"),
        ("for i in 4 { y[i * 6 :+ 7] = 0.0 }", "bounds"),
        ("for i in 4 { y[i * 6 :+ 4] = 0.0 } y[8] = 0.0", "once"),
        ("for i in 4 { y[i * 6 :+ 4] = x[i * 6 :+ 5] }", "types"),
        ("for i in 4 { y[i * 6] = x[i * 6 :+ 5] }", "types"),
        ("for i in 4 { y[i * 6 :+ 4] = x[0 :+ 4] + x[0 :+ 2] }", "types"),
    ],
)
def test_flat_kernels_are_checked_too(body: str, rule: str) -> None:
    assert rule_broken(kernel(body, FLAT)) == rule


X = Buffer("x", (4,), DType.F32, Layout.plain(1))
Y = replace(X, name="y")
ONE, WIDE, TRUE = Const(1.0, DType.F32), Const(1.0, DType.F64), Const(1, DType.BOOL)
I = Var("i")  # noqa: E741


def storing(value: Expr, *before: Let | Alloc) -> Kernel:
    """for i in 4: y[i] = value."""
    body: Body = (*before, Store(Y, (I,), value))
    return Kernel("k", (X, Y), ("y",), (For("i", 4, body),))


PAIR = Load(X, (Ramp(Const(0), 2),))
ILL_TYPED = [
    WIDE,
    I,
    ONE + WIDE,
    Binary("and", ONE, ONE),
    Binary("add", TRUE, TRUE),
    Binary("mod", ONE, ONE),
    Cast(Binary("div", I, I), DType.F32),
    Cast(Binary("floordiv", I, Const(0)), DType.F32),
    Cast(Binary("mod", I, I), DType.F32),
    Select(ONE, ONE, ONE),
    Select(TRUE, ONE, WIDE),
    Fma(ONE, WIDE, ONE),
    Cast(Fma(I, I, I), DType.F32),
    Call("sine", (ONE,)),
    Call("exp", (ONE, ONE)),
    Call("pow", (ONE,)),
    Call("ldexp", (ONE, WIDE)),
    Select(Compare("lt", ONE, I), ONE, ONE),
    X[Const(1.5)],
    X[I + Const(1.5)],
    X[I // Const(-1)],
    Load(X, (Binary("floordiv", I, I + 1),)),
    Load(X, (Binary("div", I, Const(2)),)),
    Load(X, (Binary("and", I, I),)),
    Load(X, (Binary("add", I, ONE),)),
    Load(X, (Binary("add", I, Ramp(I, 2)),)),
    Load(X, (Ramp(I, 1),)),
    Load(X, (Select(ONE, I, I),)),
    Load(X, (ONE,)),
    Load(X, (I, I)),
    Cast(Ramp(Ramp(I, 2), 2), DType.F32),
    Lanes((PAIR, ONE), (0, 1)),
    Lanes((PAIR, Cast(PAIR, DType.F64)), (0, 1)),
    Lanes((PAIR,), (0, 1, 0)),
    Lanes((PAIR,), (0, 2)),
    Lanes((PAIR,), (0, -1)),
    Lanes((ONE,), (0,)),
    Load(X, (Lanes((Ramp(I, 2),), (0, 1)),)),
]


@pytest.mark.parametrize("value", ILL_TYPED, ids=repr)
def test_types_are_checked(value: Expr) -> None:
    assert rule_broken(storing(value)) == "types"


@pytest.mark.parametrize(
    "value",
    [Local("v", DType.F32), X[Var("j")], X[I * 2 - Var("j")], Load(replace(X, name="z"), (I,))],
    ids=repr,
)
def test_names_must_be_known(value: Expr) -> None:
    assert rule_broken(storing(value)) == "names"


def test_names_must_mean_what_was_defined() -> None:
    assert rule_broken(storing(Local("v", DType.F32, 4), Let("v", ONE))) == "types"
    assert rule_broken(storing(Load(replace(X, shape=(5,)), (I,)))) == "names"


def test_registers_are_small_and_allocated() -> None:
    largest = register("r", (MAX_REGISTER_BYTES // 4,), DType.F32)
    verify_kernel(storing(ONE, Alloc(largest)))
    larger = register("r", (MAX_REGISTER_BYTES // 4 + 1,), DType.F32)
    assert rule_broken(storing(ONE, Alloc(larger))) == "registers"
    assert rule_broken(storing(ONE, Alloc(replace(X, name="r")))) == "registers"


def test_parameters_are_checked() -> None:
    good = storing(ONE)
    assert rule_broken(replace(good, outputs=("y", "z"))) == "params"
    assert rule_broken(replace(good, params=(X, X, Y))) == "params"
    in_register = replace(X, space=Space.REGISTER)
    assert rule_broken(replace(good, params=(in_register, Y))) == "params"


def test_large_layers_take_no_time() -> None:
    """Boxes are compared, not elements."""
    tensor = "f32[8, 512, 512, 512] @ aBcd16b+c1:1+d1:1"
    params = f"in x: {tensor}\nout y: {tensor}"
    body = """for n in 8 parallel { for c.0 in 32 parallel { for h in 512 { for w.0 in 36 {
        for w.1 in 14 { for c.1 in 16 vector { y[n, c.0 * 16 + c.1, h, w.0 * 14 + w.1] =
            x[n, c.0 * 16 + c.1, h, w.0 * 14 + w.1 + 1] } } }
        for w.1 in 8 { for c.1 in 16 vector { y[n, c.0 * 16 + c.1, h, w.1 + 504] = 0.0 } } } } }"""
    start = time.process_time()
    verify_kernel(kernel(body, params))
    assert rule_broken(kernel(body.replace("w.1 + 504", "w.1 + 503"), params)) == "once"
    assert time.process_time() - start < 2
