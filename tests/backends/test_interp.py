"""The interpreter: rounding, vectors, bounds, tasks, programs."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnnc.backends.interp.backend import BACKEND
from cnnc.backends.interp.evaluate import run_kernel
from cnnc.backends.native.targets import named_target
from cnnc.base.dtype import DType
from cnnc.base.errors import InternalError
from cnnc.base.layout import Layout
from cnnc.loop.expr import Binary, Buffer, Call, Cast, Compare, Const, Expr, Fma, Select
from cnnc.loop.kernel import Blob, Kernel, Place, Port, Program, Region, Step, Store
from cnnc.loop.parse import parse_kernel

F32 = DType.F32
TARGET = named_target("x86-64")
singles = st.floats(width=32)


def kernel(body: str, params: str = "in x: f32[8]\nout y: f32[8]") -> Kernel:
    """A kernel from the text of its statements."""
    return parse_kernel(f"kernel k {{\n{params}\n{body}\n}}")


def evaluated(value: Expr) -> np.generic:
    """The value of an expression without buffers."""
    assert value.dtype is not None
    y = Buffer("y", (1,), value.dtype, Layout.plain(1))
    memory = np.zeros(1, value.dtype.numpy)
    run_kernel(Kernel("k", (y,), ("y",), (Store(y, (Const(0),), value),)), [memory])
    return memory[0]


def same(found: np.generic, expected: np.generic) -> bool:
    """Equal bits, or both NaN."""
    either = found.tobytes() == expected.tobytes()
    return found.dtype == expected.dtype and (either or bool(np.isnan(found) & np.isnan(expected)))


def single(number: float) -> Const:
    """A number as an expression."""
    return Const(number, F32)


@given(st.sampled_from(["add", "sub", "mul", "div", "min", "max"]), singles, singles)
def test_every_operation_rounds_to_single(op: str, a: float, b: float) -> None:
    numpy = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
    function = {**numpy, "min": np.minimum, "max": np.maximum}[op]
    with np.errstate(all="ignore"):
        expected = function(np.float32(a), np.float32(b))
    assert same(evaluated(Binary(op, single(a), single(b))), expected)


@given(singles, singles, singles)
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    with np.errstate(all="ignore"):
        exact = np.longdouble(a) * np.longdouble(b) + np.longdouble(c)
        expected = exact.astype(np.float64).astype(np.float32)
        found = evaluated(Fma(single(a), single(b), single(c)))
        close = np.abs(found - expected) <= np.spacing(np.abs(expected))
    assert same(found, expected) or close


def test_fma_keeps_what_a_product_would_lose() -> None:
    a = 1 + 2.0**-23
    assert evaluated(Fma(single(a), single(a), single(-(1 + 2.0**-22)))) == 2.0**-46
    assert evaluated(single(a) * single(a) - single(1 + 2.0**-22)) == 0


@given(st.sampled_from(["lt", "le", "eq", "ne"]), singles, singles)
def test_comparisons_with_nan_are_false_but_for_ne(op: str, a: float, b: float) -> None:
    chosen = evaluated(Select(Compare(op, single(a), single(b)), single(1.0), single(0.0)))
    expected = {"lt": a < b, "le": a <= b, "eq": a == b, "ne": a != b}[op]
    assert bool(chosen) is expected


@given(st.floats(2.0**-126, 2.0**127, width=32), st.integers(-252, 252))
def test_primitives(x: float, n: int) -> None:
    mantissa, exponent = np.frexp(np.float32(x))
    assert evaluated(Call("mantissa", (single(x),))) == 2 * mantissa
    assert evaluated(Call("exponent", (single(x),))) == exponent - 1
    assert evaluated(Call("copysign", (single(x), single(-0.0)))) == -x
    assert evaluated(Call("abs", (single(-x),))) == x
    assert evaluated(Call("sqrt", (single(x),))) == np.sqrt(np.float32(x))
    with np.errstate(all="ignore"):
        expected = np.ldexp(np.float32(x), n)
    assert evaluated(Call("ldexp", (single(x), single(float(n))))) == expected


@pytest.mark.parametrize("n", [np.nan, np.inf, 0.5, 253.0, -253.0])
def test_ldexp_refuses_what_machine_code_cannot_take(n: float) -> None:
    with pytest.raises(InternalError, match="ldexp by"):
        evaluated(Call("ldexp", (single(1.0), single(n))))


def test_elementary_functions_are_for_lowering_to_expand() -> None:
    with pytest.raises(InternalError, match=r"no rule to evaluate exp\(1.0\)"):
        evaluated(Call("exp", (single(1.0),)))


def test_casts_convert() -> None:
    third = Const(1 / 3, DType.F64)
    assert evaluated(Cast(third, F32)) == np.float32(1 / 3)
    assert evaluated(Cast(Const(7), F32)) == 7


@pytest.mark.parametrize(
    "body",
    [
        "for i in 8 { y[i] = x[7 - i] * 2.0 }",
        "for i in 8 vector { y[i] = x[7 - i] * 2.0 }",
        "for i in 2 unrolled { y[i * 4 :+ 4] = x[7 - i * 4 :+ 4 by -1] * 2.0 }",
        "y[7 :+ 8 by -1] = x[0 :+ 8] * 2.0",
        "for i in 8 { register r: f32[2] r[1] = x[7 - i] let v = r[1] y[i] = v * 2.0 }",
    ],
)
def test_vectors_do_what_loops_do(body: str) -> None:
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    run_kernel(kernel(body), [x, y])
    np.testing.assert_array_equal(y, x[::-1] * 2)


def test_a_let_keeps_its_value_when_memory_changes() -> None:
    y = np.arange(8, dtype=np.float32)
    body = "let v = y[0 :+ 4] y[0 :+ 4] = 9.0 y[4 :+ 4] = v"
    run_kernel(kernel(body), [y.copy(), y])
    np.testing.assert_array_equal(y, [9, 9, 9, 9, 0, 1, 2, 3])


def test_ramps_count_in_lanes() -> None:
    y = np.zeros(8, np.float32)
    run_kernel(kernel("for i in 2 { y[i * 4 :+ 4] = f32(i * 10 :+ 4 by 2) + x[i] }"), [y * 0, y])
    np.testing.assert_array_equal(y, [0, 2, 4, 6, 10, 12, 14, 16])


def test_registers_start_undefined() -> None:
    y = np.zeros(8, np.float32)
    run_kernel(kernel("for i in 8 { register r: f32[] y[i] = r[] }"), [y.copy(), y])
    assert np.isnan(y).all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("for i in 8 { y[i] = x[i + 1] }", r"k: x\[i \+ 1\] leaves it at \[8\]"),
        ("for i in 8 { y[i] = x[i - 1] }", r"k: x\[i - 1\] leaves it at \[-1\]"),
        ("for i in 9 { y[i] = 0.0 }", r"k: y\[i\] leaves it at \[8\]"),
        ("y[5 :+ 4] = 0.0", r"k: y\[5 :\+ 4\] leaves it at \[5\]"),
        ("for i in 8 vector { y[i] = x[i * 2] }", r"k: x\[i \* 2\] leaves it"),
        ("for i in 8 { y[i] = select(i < 4, x[i * 2], 0.0) }", r"x\[i \* 2\] leaves it at \[8\]"),
    ],
)
def test_leaving_a_buffer_names_kernel_and_access(body: str, message: str) -> None:
    y = np.zeros(8, np.float32)
    with pytest.raises(InternalError, match=message):
        run_kernel(kernel(body), [y.copy(), y])


def test_logical_indices_may_reach_into_halo_and_padding() -> None:
    params = "in x: f32[2, 3] @ aB2b+b1:0\nout y: f32[2, 4]"
    layout = Layout.parse("aB2b+b1:0")
    x = layout.pack(np.arange(1, 7, dtype=np.float32).reshape(2, 3)).ravel()
    y = np.zeros(8, np.float32)
    run_kernel(kernel("for i in 2 { for j in 4 { y[i, j] = x[i, j - 1] } }", params), [x, y])
    np.testing.assert_array_equal(y.reshape(2, 4), [[0, 1, 2, 3], [0, 4, 5, 6]])
    with pytest.raises(InternalError, match=r"leaves it at \[0, 3\]"):
        run_kernel(kernel("y[0, 0] = x[0, 3]", params), [x, y])


def test_tasks_choose_iterations_of_the_parallel_nest() -> None:
    body = """for i in 2 parallel { for j in 3 parallel { y[i, j] = 1.0 } }
        for i in 2 parallel { y[i, 3] = 2.0 }
        z[0] = 3.0"""
    made = kernel(body, "out y: f32[2, 4]\nout z: f32[1]")

    def run(*tasks: int) -> list[float]:
        y, z = np.zeros(8, np.float32), np.zeros(1, np.float32)
        run_kernel(made, [y, z], tasks=tasks)
        return [*map(float, y), float(z[0])]

    assert run(4) == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert run(0) == [1, 0, 0, 2, 0, 0, 0, 0, 3]
    assert run(1, 5) == [0, 1, 0, 0, 0, 0, 1, 2, 0]
    assert run() == [0] * 9
    everything = np.zeros(8, np.float32), np.zeros(1, np.float32)
    run_kernel(made, everything)
    assert [*map(float, everything[0]), float(everything[1][0])] == run(*range(6))


@pytest.mark.parametrize(
    "wrong", [np.zeros(7, np.float32), np.zeros(8), np.zeros((2, 4), np.float32)]
)
def test_buffers_must_fit(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"x takes f32\[8\]"):
        run_kernel(kernel("y[0] = 1.0"), [wrong, np.zeros(8, np.float32)])


@dataclass(frozen=True)
class Octets:
    """See Contents."""

    data: bytes

    @property
    def bytes(self) -> int:
        """See Contents."""
        return len(self.data)

    def pack_into(self, memory: NDArray[np.uint8]) -> None:
        """See Contents."""
        memory[:] = np.frombuffer(self.data, np.uint8)


def doubling() -> Program:
    """y = 2 x + w through the arena: t = x + x, then y = t + w."""
    twice = kernel("for i in 8 { y[i] = x[i] + x[i] }")
    plus = kernel("for i in 8 { y[i] = x[i] + w[i] }", "in x: f32[8]\nin w: f32[8]\nout y: f32[8]")
    weights = np.arange(8, dtype=np.float32).tobytes()
    x, t, y = Place(Region.INPUT), Place(Region.ARENA, 64), Place(Region.OUTPUT)
    steps = (
        Step(0, (x, t), barrier=False, layer="twice"),
        Step(1, (t, Place(Region.WEIGHTS, 64), y), barrier=True, layer="plus"),
    )
    port = Port("x", (2, 4), F32)
    blobs = (Blob("w", 64, Octets(weights)),)
    return Program("p", (twice, plus), steps, (port,), (port,), blobs, 96, 96)


def test_program_runs_through_arena_and_weights() -> None:
    executable = BACKEND.compile(doubling(), TARGET, threads=2)
    x, y = np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)
    executable.run([x], [y])
    np.testing.assert_array_equal(y, 2 + np.arange(8).reshape(2, 4))
    assert executable.program == doubling()
    memory = np.full(8, 3, np.float32), np.zeros(8, np.float32)
    executable.run_kernel(0, memory)
    assert (memory[1] == 6).all()


def test_several_threads_may_run_one_executable() -> None:
    executable = BACKEND.compile(doubling(), TARGET, threads=1)
    results = [np.zeros((2, 4), np.float32) for _ in range(4)]

    def run(position: int) -> None:
        executable.run([np.full((2, 4), position, np.float32)], [results[position]])

    threads = [threading.Thread(target=run, args=(position,)) for position in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for position, result in enumerate(results):
        np.testing.assert_array_equal(result, 2 * position + np.arange(8).reshape(2, 4))


def test_weights_cannot_be_written() -> None:
    program = doubling()
    step = Step(0, (Place(Region.INPUT), Place(Region.WEIGHTS, 64)), barrier=False, layer="bad")
    executable = BACKEND.compile(
        Program("p", program.kernels, (step,), program.inputs, (), program.weights, 96, 0),
        TARGET,
        threads=1,
    )
    with pytest.raises(ValueError, match="read-only"):
        executable.run([np.ones((2, 4), np.float32)], [])
