"""Vectors in kernels that accumulate: text before and after, what does not apply."""

import numpy as np
import pytest

import cnnc
from cnnc.backends.interp.evaluate import run_kernel
from cnnc.loop.kernel import Alloc, For, Kernel, Kind, walk
from cnnc.loop.parse import parse_kernel
from cnnc.loop.registers import register_widths
from cnnc.loop.text import print_kernel
from cnnc.loop.verify import verify_kernel
from cnnc.lowering.flatten import flatten
from cnnc.lowering.loops import drop_unit_loops, jam
from cnnc.lowering.nests import fission
from cnnc.lowering.sweeps import may_vectorise_results, vectorise_results, vectorise_rows


def kernel(body: str, params: str) -> Kernel:
    """A kernel from the text of its statements, as sound as it will stay."""
    made = parse_kernel(f"kernel k {{\n{params}\n{body}\n}}")
    verify_kernel(made)
    return made


def assert_same(changed: Kernel, params: str, after: str) -> None:
    """The kernel is what the text says, and sound."""
    verify_kernel(changed)
    assert print_kernel(changed) == print_kernel(kernel(after, params))


def assert_computes_the_same(first: Kernel, second: Kernel) -> None:
    """Both give the same results for drawn operands, up to the order of additions."""
    rng = np.random.default_rng(0)
    operands = {p.name: rng.normal(size=p.size).astype(np.float32) for p in first.params}
    results = []
    for each in (first, second):
        arrays = {name: value.copy() for name, value in operands.items()}
        run_kernel(flatten(each), list(arrays.values()))
        results.append(arrays["y"])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)


ROWS = "in x: f32[2, 11]\nout y: f32[2]"
SUM = """for i in 2 {
    register acc: f32[]
    acc[] = 0.5
    for r in 11 reduce { acc[] = acc[] + x[i, r] }
    y[i] = acc[] }"""
PARTIAL = """for i in 2 {
    register acc: f32[]
    acc[] = 0.5
    register acc.r: f32[4]
    for r.1 in 4 vector { acc.r[r.1] = START }
    for r.0 in 2 reduce { for r.1 in 4 vector {
        acc.r[r.1] = BEGIN acc.r[r.1] JOIN x[i, r.0 * 4 + r.1] END } }
    for r.1 in 3 reduce { acc[] = BEGIN acc[] JOIN x[i, r.1 + 8] END }
    register acc.r.pairs: f32[2]
    for r.1 in 2 unrolled { acc.r.pairs[r.1] = BEGIN acc.r[r.1] JOIN acc.r[r.1 + 2] END }
    for r.1 in 1 unrolled {
        acc.r.pairs[r.1] = BEGIN acc.r.pairs[r.1] JOIN acc.r.pairs[r.1 + 1] END }
    acc[] = BEGIN acc[] JOIN acc.r.pairs[0] END
    y[i] = acc[] }"""


def partial(start: str, begin: str, join: str, end: str) -> str:
    """The sums in parts, or whatever is joined."""
    words = {"START": start, "BEGIN": begin, "JOIN": join, "END": end}
    text = PARTIAL
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def test_rows_are_added_up_in_parts() -> None:
    before = kernel(SUM, ROWS)
    changed = vectorise_rows(before, 4)
    assert_same(changed, ROWS, partial("0.0", "", "+", ""))
    assert_computes_the_same(before, changed)


def test_the_largest_of_a_row_in_parts() -> None:
    before = kernel(SUM.replace("acc[] + x[i, r]", "max(acc[], x[i, r])"), ROWS)
    changed = vectorise_rows(before, 4)
    assert_same(changed, ROWS, partial("-inf", "max(", ",", ")"))
    assert_computes_the_same(before, changed)


def test_lanes_that_divide_the_row_leave_no_rest() -> None:
    before = kernel(SUM.replace("11", "12"), ROWS.replace("11", "12"))
    text = print_kernel(vectorise_rows(before, 8))
    assert "register acc.r: f32[6]" in text
    assert text.count("reduce") == 1


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 5, 6, 7, 8, 11, 16])
@pytest.mark.parametrize("extent", [8, 11, 21, 22, 35])
def test_any_number_of_lanes_is_joined(lanes: int, extent: int) -> None:
    before = kernel(SUM.replace("11", str(extent)), ROWS.replace("11", str(extent)))
    changed = vectorise_rows(before, lanes)
    verify_kernel(changed)
    assert register_widths(flatten(changed)).keys() == {
        stmt.buffer.name for stmt in walk(changed.body) if isinstance(stmt, Alloc)
    }
    assert_computes_the_same(before, changed)


def test_results_along_a_row() -> None:
    """What is left of the row is shorter; every nest has registers of its own."""
    params = "in x: f32[8, 23]\nout y: f32[1, 23]"
    before = kernel(
        """for n in 1 { for i in 23 {
            register acc: f32[]
            acc[] = 0.0
            for r in 8 reduce { acc[] = acc[] + x[r, i] }
            y[n, i] = acc[] } }""",
        params,
    )
    assert may_vectorise_results(before, "i")
    changed = vectorise_results(before, "i", 4)
    verify_kernel(changed)
    text = print_kernel(changed)
    assert [f"register acc{end}" in text for end in (": f32[4, 4]", ".1: f32[1, 4]", ".2: f32[3]")]
    assert "x[r, (i.0 * 4 + i.1) * 4 + i.2]" in text
    assert_computes_the_same(before, changed)


def test_what_follows_a_sum_may_have_a_name() -> None:
    """An activation of the sum; what a loop behind it reads may not."""
    params = "in x: f32[8, 23]\nout y: f32[1, 46]"
    body = """for n in 1 { for i in 23 {
            register acc: f32[]
            acc[] = 0.0
            for r in 8 reduce { acc[] = acc[] + x[r, i] }
            let v = acc[]
            y[n, i * 2] = select(v < 0.0, 0.0, v) } }"""
    before = parse_kernel(f"kernel k {{\n{params}\n{body}\n}}")
    assert may_vectorise_results(before, "i")
    named = body.replace("acc[] = 0.0", "let w = x[0, i]\nacc[] = 0.0").replace("+ x[r, i]", "+ w")
    assert not may_vectorise_results(parse_kernel(f"kernel k {{\n{params}\n{named}\n}}"), "i")


@pytest.mark.parametrize(
    "value",
    ["x[r, i * 2]", "x[r, i // 2]", "select(i < 3, x[r, i], 0.0)", "x[i, r]", "x[r, i] * f32(i)"],
)
def test_results_that_are_no_neighbours_stay_alone(value: str) -> None:
    body = """for n in 1 { for i in 6 {
        register acc: f32[]
        acc[] = 0.0
        for r in 6 reduce { acc[] = acc[] + VALUE }
        y[n, i] = acc[] } }"""
    made = parse_kernel(
        f"kernel k {{\nin x: f32[12, 12]\nout y: f32[1, 6]\n{body.replace('VALUE', value)}\n}}"
    )
    assert not may_vectorise_results(made, "i")


def test_a_loop_moves_below_the_sweep_behind_a_sum() -> None:
    params = "in x: f32[4, 3]\nout y: f32[4, 3]"
    before = kernel(
        """for c in 4 {
            register acc: f32[]
            acc[] = 0.0
            for r in 3 reduce { acc[] = acc[] + x[c, r] }
            for w in 3 { y[c, w] = x[c, w] - acc[] } }""",
        params,
    )
    changed = jam(before, "c", {"w"})
    assert_same(
        changed,
        params,
        """register acc: f32[4]
        for c in 4 { acc[c] = 0.0 }
        for r in 3 reduce { for c in 4 { acc[c] = acc[c] + x[c, r] } }
        for w in 3 { for c in 4 { y[c, w] = x[c, w] - acc[c] } }""",
    )
    assert_computes_the_same(before, changed)


def test_fission() -> None:
    params = "in x: f32[2, 4]\nout y: f32[2, 4]"
    one = "for i in 2 { for j in 3 { y[i, j] = x[i, j] } for k in 1 { y[i, k + 3] = 0.0 } }"
    two = """for i in 2 { for j in 3 { y[i, j] = x[i, j] } }
        for i in 2 { for k in 1 { y[i, k + 3] = 0.0 } }"""
    assert_same(fission(kernel(one, params)), params, two)


def test_names_of_vector_loops_stay_in_their_loop() -> None:
    """They dissolve into the body around, where a neighbour may have the same names."""
    params = "in x: f32[2, 6]\nout y: f32[2, 6]"
    before = kernel(
        """for i in 2 {
            for j in 1 { for k in 4 vector { let a = x[i, k]
                y[i, k] = a } }
            for l in 2 { let a = x[i, l + 4]
                y[i, l + 4] = a } }""",
        params,
    )
    assert drop_unit_loops(before) == before


def test_the_largest_of_a_short_row_is_not() -> None:
    text = "cnn 1\nnet n {\n  input x: f32[1, 3, 7, 7]\n  output y = x -> pool(max, global)\n}\n"
    (layer,) = cnnc.load_text(text).compile("x86-64-v3").lowered.layers
    assert all(s.kind is not Kind.VECTOR for s in walk(layer.kernel.body) if isinstance(s, For))


@pytest.mark.parametrize("body", ["pool(avg, global)", "pool(max, global)", "flatten -> dense(1)"])
def test_a_row_of_one_result_is_added_up_in_parts(body: str) -> None:
    text = f"cnn 1\nnet n {{\n  input x: f32[1, 3, 9, 32]\n  output y = x -> {body}\n"
    layers = cnnc.load_text(text + "  weights he\n}\n").compile("x86-64-v3").lowered.layers
    kinds = {s.kind for s in walk(layers[-1].kernel.body) if isinstance(s, For) and s.reduces}
    vectors = [s for s in walk(layers[-1].kernel.body) if isinstance(s, For)]
    assert kinds == {Kind.SERIAL}
    assert any(s.kind is Kind.VECTOR for s in vectors)
