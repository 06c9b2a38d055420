"""Loop transformations: text before, text after; and the meaning stays."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.base.layout import Layout
from cnnc.loop.kernel import For, Kernel, Kind, walk
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.loop.verify import LoopError, verify_kernel
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.flatten import flatten
from cnnc.lowering.hints import prefetch_ahead, prefetch_next
from cnnc.lowering.loops import (
    ScheduleError,
    interchange,
    jam,
    mark,
    parallelise,
    sink,
    split,
    split_evenly,
    unroll,
    vectorise,
    widen,
    write_out,
)
from cnnc.lowering.vectors import expand_vectors
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from tests.loop.kernels import defined
from tests.ops.cases import CASES as ALL_CASES
from tests.ops.cases import Case

Change = Callable[[Kernel], Kernel]


def kernel(body: str, params: str) -> Kernel:
    """A kernel from the text of its statements."""
    return parse_kernel(f"kernel k {{\n{params}\n{body}\n}}")


MATRICES = "in x: f32[4, 6]\nout y: f32[4, 6]"
COPY = "for i in 4 { for j in 6 { y[i, j] = x[i, j] } }"
SUMS = "in x: f32[6, 4]\nin b: f32[6]\nout y: f32[6]"
SUM = """for i in 6 {
    register acc: f32[]
    acc[] = b[i]
    for r in 4 reduce { acc[] = acc[] + x[i, r] }
    y[i] = acc[] }"""

CASES: dict[str, tuple[str, str, Change, str]] = {
    "split": (
        MATRICES,
        COPY,
        lambda k: split(k, "j", 2),
        """for i in 4 { for j.0 in 3 { for j.1 in 2 {
            y[i, j.0 * 2 + j.1] = x[i, j.0 * 2 + j.1] } } }""",
    ),
    "split, remainder": (
        MATRICES,
        COPY,
        lambda k: split(k, "j", 4, "a", "b"),
        """for i in 4 {
            for a in 1 { for b in 4 { y[i, a * 4 + b] = x[i, a * 4 + b] } }
            for b in 2 { y[i, b + 4] = x[i, b + 4] } }""",
    ),
    "split evenly": (
        "in x: f32[4, 7]\nout y: f32[4, 7]",
        "for i in 4 { for j in 7 { y[i, j] = x[i, j] } }",
        lambda k: split_evenly(k, "j", 3),
        """for i in 4 {
            for j.0 in 1 { for j.1 in 3 { y[i, j.0 * 3 + j.1] = x[i, j.0 * 3 + j.1] } }
            for j.0 in 2 { for j.1 in 2 {
                y[i, j.0 * 2 + j.1 + 3] = x[i, j.0 * 2 + j.1 + 3] } } }""",
    ),
    "split evenly, without a rest": (
        MATRICES,
        COPY,
        lambda k: split_evenly(k, "j", 5),
        """for i in 4 {
            for j.0 in 2 { for j.1 in 3 { y[i, j.0 * 3 + j.1] = x[i, j.0 * 3 + j.1] } } }""",
    ),
    "split by more than there is": (
        MATRICES,
        COPY,
        lambda k: split(k, "j", 8),
        "for i in 4 { for j.1 in 6 { y[i, j.1] = x[i, j.1] } }",
    ),
    "split a reduction": (
        SUMS,
        SUM,
        lambda k: split(k, "r", 2),
        """for i in 6 {
            register acc: f32[]
            acc[] = b[i]
            for r.0 in 2 reduce { for r.1 in 2 reduce {
                acc[] = acc[] + x[i, r.0 * 2 + r.1] } }
            y[i] = acc[] }""",
    ),
    "widen": (
        "in x: f32[4, 6] @ aB4b\nout y: f32[4, 6] @ aB4b",
        COPY,
        lambda k: widen(k, "j", 4),
        "for i in 4 { for j in 8 { y[i, j] = x[i, j] } }",
    ),
    "sink": (
        MATRICES,
        COPY,
        lambda k: sink(k, "i"),
        "for j in 6 { for i in 4 { y[i, j] = x[i, j] } }",
    ),
    "sink into several loops": (
        MATRICES,
        "for i in 4 { for j in 4 { y[i, j] = 0.0 } for j in 2 { y[i, j + 4] = 0.0 } }",
        lambda k: sink(k, "i"),
        "for j in 4 { for i in 4 { y[i, j] = 0.0 } }"
        "for j in 2 { for i in 4 { y[i, j + 4] = 0.0 } }",
    ),
    "sink stops at several statements": (
        SUMS,
        SUM,
        lambda k: sink(k, "i"),
        SUM,
    ),
    "interchange": (
        MATRICES,
        COPY,
        lambda k: interchange(k, "i", "j"),
        "for j in 6 { for i in 4 { y[i, j] = x[i, j] } }",
    ),
    "interchange leaves other loops": (
        SUMS,
        SUM,
        lambda k: interchange(k, "i", "r"),
        SUM,
    ),
    "jam": (
        SUMS,
        SUM,
        lambda k: jam(k, "i"),
        """register acc: f32[6]
        for i in 6 { acc[i] = b[i] }
        for r in 4 reduce { for i in 6 { acc[i] = acc[i] + x[i, r] } }
        for i in 6 { y[i] = acc[i] }""",
    ),
    "jam twice": (
        SUMS,
        SUM,
        lambda k: jam(jam(split(k, "i", 3), "i.1"), "i.0"),
        """register acc: f32[2, 3]
        for i.0 in 2 { for i.1 in 3 { acc[i.0, i.1] = b[i.0 * 3 + i.1] } }
        for r in 4 reduce { for i.0 in 2 { for i.1 in 3 {
            acc[i.0, i.1] = acc[i.0, i.1] + x[i.0 * 3 + i.1, r] } } }
        for i.0 in 2 { for i.1 in 3 { y[i.0 * 3 + i.1] = acc[i.0, i.1] } }""",
    ),
    "jam keeps a let with its readers": (
        SUMS,
        SUM.replace("y[i] = acc[]", "let v = acc[] * 2.0 y[i] = v * v"),
        lambda k: jam(k, "i"),
        """register acc: f32[6]
        for i in 6 { acc[i] = b[i] }
        for r in 4 reduce { for i in 6 { acc[i] = acc[i] + x[i, r] } }
        for i in 6 { let v = acc[i] * 2.0 y[i] = v * v }""",
    ),
    "unroll": (MATRICES, COPY, lambda k: unroll(k, "j"), COPY.replace("in 6", "in 6 unrolled")),
    "vectorise": (MATRICES, COPY, lambda k: vectorise(k, "j"), COPY.replace("in 6", "in 6 vector")),
    "parallelise": (
        MATRICES,
        COPY,
        lambda k: parallelise(k, "i", "j"),
        COPY.replace("in 4", "in 4 parallel").replace("in 6", "in 6 parallel"),
    ),
    "write out": (
        MATRICES,
        COPY,
        lambda k: write_out(split(k, "j", 3), "j.0"),
        """for i in 4 {
            for j.0 in 1 { for j.1 in 3 { y[i, j.1] = x[i, j.1] } }
            for j.0 in 1 { for j.1 in 3 { y[i, j.1 + 3] = x[i, j.1 + 3] } } }""",
    ),
    "every loop of the name": (
        MATRICES,
        COPY,
        lambda k: unroll(split(k, "j", 4), "j.1"),
        """for i in 4 {
            for j.0 in 1 { for j.1 in 4 unrolled { y[i, j.0 * 4 + j.1] = x[i, j.0 * 4 + j.1] } }
            for j.1 in 2 unrolled { y[i, j.1 + 4] = x[i, j.1 + 4] } }""",
    ),
    "expand vectors": (
        "in x: f32[24]\nin s: f32[4]\nout y: f32[24]",
        """for i in 4 { for j in 6 vector {
            let v = x[i + j * 4] * s[i]
            y[i * 6 + j] = v + f32(j + i) } }""",
        expand_vectors,
        """for i in 4 {
            let v = x[i :+ 6 by 4] * s[i]
            y[i * 6 :+ 6] = v + f32(i :+ 6) }""",
    ),
    "expand a vector of one lane": (
        "in x: f32[4]\nout y: f32[4]",
        "for i in 4 { for j in 1 vector { y[i + j] = x[j + i] } }",
        expand_vectors,
        "for i in 4 { y[i] = x[i] }",
    ),
    "flatten": (
        "in x: f32[1, 20, 8] @ aBc16b+c1:1\nin w: f32[2, 20] @ AB16b2a\nout y: f32[2, 20, 8]",
        """for o in 2 { for c.0 in 2 { for c.1 in 10 { for l in 8 {
            y[o, c.0 * 10 + c.1, l] = x[0, c.0 * 16 + c.1, l - 1] * w[o, c.1] } } } }""",
        flatten,
        """for o in 2 { for c.0 in 2 { for c.1 in 10 { for l in 8 {
            y[o * 160 + c.0 * 80 + c.1 * 8 + l] =
                x[c.0 * 160 + l * 16 + c.1] * w[c.1 * 2 + o] } } } }""",
    ),
}
FLAT = {
    "flatten": "in x: f32[320]\nin w: f32[64]\nout y: f32[320]",
}


@pytest.mark.parametrize("name", CASES)
def test_before_and_after(name: str) -> None:
    params, before, change, after = CASES[name]
    expected = kernel(after, FLAT.get(name, params))
    changed = change(kernel(before, params))
    assert print_kernel(changed) == print_kernel(expected)
    assert changed == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda k: split(k, "z", 2),
        lambda k: vectorise(k, "r"),
        lambda k: parallelise(k, "r"),
        lambda k: jam(k, "r"),
        lambda k: widen(k, "r", 4),
        lambda k: expand_vectors(flatten(vectorise(k, "i"))),
    ],
)
def test_what_does_not_apply_is_refused(change: Change) -> None:
    with pytest.raises(ScheduleError):
        change(kernel(SUM, SUMS))


@pytest.mark.parametrize("change", [jam, sink])
def test_iterations_that_share_a_register_stay_together(
    change: Callable[[Kernel, str], Kernel],
) -> None:
    body = """for i in 4 { register t: f32[] for j in 6 {
        for a in 1 { t[] = x[i, j] } for b in 1 { y[i, j] = t[] } } }"""
    with pytest.raises(ScheduleError, match="iterations of j share t"):
        change(kernel(body, MATRICES), "j")


def memory_of(made: Kernel, seed: int) -> list[NDArray[np.generic]]:
    """Small whole numbers, so that sums are exact in any order; the result unknown as yet."""
    rng = np.random.default_rng(seed)
    memory: list[NDArray[np.generic]] = []
    for param in made.params:
        values = rng.integers(-4, 5, param.shape).astype(np.float32)
        packed = param.layout.pack(values).ravel()
        memory.append(np.full_like(packed, np.nan) if param.name in made.outputs else packed)
    return memory


def result_of(made: Kernel, logical: Kernel, seed: int) -> NDArray[np.generic]:
    """What a kernel, flat or not, writes; `logical` knows the layouts."""
    memory = memory_of(logical, seed)
    run_kernel(expand_elementary(made), memory)
    out = logical.params[-1]
    return out.layout.unpack(memory[-1], out.shape)


@st.composite
def convolutions(draw: st.DrawFn) -> Kernel:
    """A small convolution on tensors in any layout."""
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    channels, outputs = (groups * draw(st.integers(1, 9 // groups)) for _ in range(2))
    length, rank = draw(st.integers(4, 7)), draw(st.integers(1, 2))
    op = Conv(
        outputs,
        (draw(st.integers(1, 3)),),
        stride=(draw(st.integers(1, 2)),),
        pad=Padding("same"),
        groups=groups,
        bias=draw(st.booleans()),
    )
    x = (draw(st.integers(1, 2)), channels, *([length] * rank))
    kernel_shape = (outputs, channels // groups, *([op.kernel[0]] * rank))
    shapes = [x, kernel_shape, *([(outputs,)] if op.bias else [])]
    block = st.sampled_from([1, 2, 4])
    read, write = draw(block), draw(block)
    halo = ((0, 0), (0, 0), *([draw(st.sampled_from([(0, 0), (1, 2)]))] * rank))
    blocks = tuple((axis, size) for axis, size in ((1, read), (0, write)) if size > 1)
    layouts = [
        Layout.blocked(rank + 2, 1, read).with_halo(halo),
        Layout(tuple(range(rank + 2)), blocks),
        *([Layout.blocked(1, 0, write)] if op.bias else []),
        Layout.blocked(rank + 2, 1, write),
    ]
    return defined(op, shapes, layouts)


HINTS = ["prefetch", "prefetch ahead"]
CHANGES = ["split", "widen", "sink", "interchange", "jam", *HINTS, *(kind.value for kind in Kind)]


def change_somehow(draw: st.DrawFn, made: Kernel) -> Kernel:
    """One transformation of some loop; the same kernel where it does not apply."""
    loops = [stmt for stmt in walk(made.body) if isinstance(stmt, For)]
    names = sorted({loop.var for loop in loops})
    var, other, name = (draw(st.sampled_from(choices)) for choices in (names, names, CHANGES))
    try:
        match name:
            case "split":
                changed = split(made, var, draw(st.integers(1, 5)))
            case "widen":
                changed = widen(made, var, draw(st.sampled_from([2, 4])))
            case "sink":
                changed = sink(made, var)
            case "jam":
                changed = jam(made, var)
            case "interchange":
                changed = interchange(made, var, other)
            case "prefetch":
                changed = prefetch_next(made, "x0", var, [other])
            case "prefetch ahead":
                changed = prefetch_ahead(made, "x0", var, [other], ahead=names[0], lanes=4)
            case _:
                changed = mark(made, var, Kind(name))
    except ScheduleError:
        return made
    try:
        verify_kernel(changed)
    except LoopError as error:
        # Whether loops suit what they are for, and memory a wider loop, only the verifier sees.
        if error.rule in ("vectors", "parallel") or (name, error.rule) == ("widen", "bounds"):
            return made
        raise AssertionError(f"{name} {var}:\n{print_kernel(changed)}") from error
    return changed


def assert_same_meaning(made: Kernel, plain: Kernel, seed: int, tolerance: float) -> None:
    """The kernel writes what the plain one writes: scheduled, flat and with vectors expanded."""
    expected = result_of(plain, plain, seed)
    np.testing.assert_allclose(result_of(made, made, seed), expected, rtol=tolerance)
    flat = flatten(made)
    verify_kernel(flat)
    np.testing.assert_allclose(result_of(flat, made, seed), expected, rtol=tolerance)
    try:
        wide = expand_vectors(flat)
    except ScheduleError:
        return
    verify_kernel(wide)
    np.testing.assert_allclose(result_of(wide, made, seed), expected, rtol=tolerance)


@settings(max_examples=25)
@given(convolutions(), st.data(), st.integers(0, 99))
def test_random_schedules_keep_the_meaning(plain: Kernel, data: st.DataObject, seed: int) -> None:
    made = plain
    for _ in range(data.draw(st.integers(0, 8))):
        made = change_somehow(data.draw, made)
    assert_same_meaning(made, plain, seed, tolerance=0)


OTHERS = [
    case
    for case in ALL_CASES
    if case.op.name in ("concat", "dense", "pool", "softmax")
    and sum(operand.size for operand in case.operands) < 400
]


@pytest.mark.parametrize("case", OTHERS, ids=str)
@settings(max_examples=6)
@given(st.data(), st.integers(0, 99))
def test_random_schedules_of_other_operators(case: Case, data: st.DataObject, seed: int) -> None:
    made = plain = defined(case.op, [operand.shape for operand in case.operands])
    for _ in range(data.draw(st.integers(1, 6))):
        made = change_somehow(data.draw, made)
    assert_same_meaning(made, plain, seed, tolerance=2e-6)
