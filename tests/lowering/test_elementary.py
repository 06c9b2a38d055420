"""Elementary functions against float64, over all of float32, with a fused multiply-add or not."""

import runpy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.backends.native.backend import BACKEND as NATIVE
from cnnc.backends.native.targets import host_target
from cnnc.base.dtype import DType
from cnnc.base.errors import InternalError
from cnnc.base.layout import Layout
from cnnc.loop.expr import (
    ELEMENTARY,
    PRIMITIVES,
    Buffer,
    Call,
    Const,
    Expr,
    Fma,
    Var,
    call,
)
from cnnc.loop.kernel import (
    For,
    Kernel,
    Kind,
    Program,
    Store,
    expressions,
    map_expressions,
)
from cnnc.loop.rewrite import parts, transform
from cnnc.lowering import polynomials
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.flatten import flatten
from cnnc.lowering.vectors import expand_vectors

Singles = NDArray[np.float32]
Reals = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[2]
LANES = 16
SPECIALS = [
    *[0.0, 1.0, 2.0, 0.5, 1e-45, 3e-39, 1.1754944e-38, 3.4028235e38, np.inf],
    *[np.log(2) / 2, np.log(2), 88.72283, 88.72284, 89.0, 87.33655, 103.97, 103.98, 104.0, 1e4],
    *[np.sqrt(2) - 1, 1 - np.sqrt(0.5), 1 - 2.0**-24, 2.0**24, 3.0, 15.0],
    *[polynomials.ERF_SPLIT, polynomials.ERF_END, np.sqrt(2), np.sqrt(0.5), 2.0**-24, 2.0**-25],
]
BOUNDS: dict[str, tuple[Callable[[Reals], Reals], float]] = {
    "exp": (np.exp, 1.1),
    "expm1": (np.expm1, 1.7),
    "sigmoid": (special.expit, 2.3),
    "tanh": (np.tanh, 2.6),
    "erf": (special.erf, 1.2),
    "log": (np.log, 0.8),
    "log1p": (np.log1p, 1.0),
}
"""The truth, and the largest error in units in the last place."""
POWERS = {1 / 3: 0.51, 0.5: 0.51, 1.5: 0.51, 2.0: 0.51, 3.0: 1.6, 4.0: 2.1, -1.25: 0.51, 7.3: 0.51}


@cache
def all_kinds_of_floats() -> Singles:
    """Special numbers, and a spread over all bit patterns whose low bits vary too."""
    spread = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    special_ones = np.array(SPECIALS, np.float32)
    near = [special_ones, np.nextafter(special_ones, 0, dtype=np.float32), -special_ones]
    values = np.concatenate([*near, np.array([np.nan, -np.nan], np.float32), spread])
    return np.resize(values, -(-len(values) // LANES) * LANES)


def elementary_kernel(function: str, size: int, lanes: int, *more: float) -> Kernel:
    """y[i] = function(x[i], …) in vectors."""
    x, y = (Buffer(name, (size,), DType.F32, Layout.plain(1)) for name in "xy")
    index = Var("i.0") * lanes + Var("i.1")
    value = call(function, x[index], *(Const(each, DType.F32) for each in more))
    inner = For("i.1", lanes, (Store(y, (index,), value),), Kind.VECTOR)
    outer = For("i.0", size // lanes, (inner,), Kind.PARALLEL)
    kernel = Kernel("k", (x, y), ("y",), (outer,))
    return expand_elementary(expand_vectors(flatten(kernel)))


def without_fma(kernel: Kernel) -> Kernel:
    """Every Fma as a product and a sum, as machines without the instruction do it."""

    def change(expr: Expr) -> Expr | None:
        return expr.a * expr.b + expr.c if isinstance(expr, Fma) else None

    return kernel.with_body(map_expressions(kernel.body, lambda expr: transform(expr, change)))


def interpreted(function: str, x: Singles, *more: float, fused: bool = True) -> Singles:
    """The function by the interpreter: in one long vector."""
    kernel = elementary_kernel(function, len(x), len(x), *more)
    y = np.full_like(x, np.nan)
    run_kernel(kernel if fused else without_fma(kernel), [x, y])
    return y


def native(function: str, x: Singles, *more: float, fused: bool = True) -> Singles:
    """The function as machine code."""
    kernel = elementary_kernel(function, len(x), LANES, *more)
    target = replace(host_target(), has_fma=fused and host_target().has_fma)
    program = Program("p", (kernel,), (), (), (), (), 0, 0)
    y = np.full_like(x, np.nan)
    NATIVE.compile(program, target, 1).run_kernel(0, [x, y])
    return y


def ulps(found: Singles, exact: Reals) -> Reals:
    """Distance in units in the last place of the exact value; infinite where one is no number."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        unit = np.spacing(np.minimum(np.abs(rounded), np.finfo(np.float32).max))
        distance = np.abs(found.astype(np.float64) - exact) / unit
    distance[(found == rounded) & ~np.isfinite(rounded)] = 0
    both_nan = np.isnan(found) & np.isnan(rounded)
    return np.where(both_nan, 0, np.where(np.isnan(distance), np.inf, distance))


RUNS = [interpreted, native]


@pytest.mark.parametrize("fused", [True, False], ids=["fma", "no fma"])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("function", BOUNDS)
def test_error_over_all_floats(function: str, run: Callable[..., Singles], fused: bool) -> None:
    truth, bound = BOUNDS[function]
    x = all_kinds_of_floats()
    with np.errstate(all="ignore"):
        exact = truth(x.astype(np.float64))
    error = ulps(run(function, x, fused=fused), exact)
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{error[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("exponent", POWERS)
def test_error_of_powers(exponent: float, run: Callable[..., Singles]) -> None:
    x = np.abs(all_kinds_of_floats())
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), float(np.float32(exponent)))
    error = ulps(run("pow", x, exponent), exact)
    worst = int(np.argmax(error))
    assert error[worst] <= POWERS[exponent], f"{error[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize("run", RUNS)
def test_power_of_a_varying_exponent(run: Callable[..., Singles]) -> None:
    size = LANES * 4
    x, p, y = (Buffer(name, (size,), DType.F32, Layout.plain(1)) for name in "xpy")
    index = Var("i")
    loop = For("i", size, (Store(y, (index,), call("pow", x[index], p[index])),))
    kernel = expand_elementary(flatten(Kernel("k", (x, p, y), ("y",), (loop,))))
    bases = np.resize(np.array([0, 1, np.inf, np.nan, 0.7, 31.0, 1e-45], np.float32), size)
    powers = np.resize(np.array([0, 1, -1, 2.5, np.inf, -np.inf, np.nan, 1e-3], np.float32), size)
    found = np.empty(size, np.float32)
    if run is native:
        program = Program("p", (kernel,), (), (), (), (), 0, 0)
        NATIVE.compile(program, host_target(), 1).run_kernel(0, [bases, powers, found])
    else:
        run_kernel(kernel, [bases, powers, found])
    with np.errstate(all="ignore"):
        exact = np.power(bases.astype(np.float64), powers.astype(np.float64))
    assert ulps(found, exact).max() <= 0.51


@pytest.mark.parametrize("run", RUNS)
def test_power_of_a_negative_number_is_nan_unless_the_exponent_is_a_small_integer(
    run: Callable[..., Singles],
) -> None:
    x = np.full(LANES, -2.0, np.float32)
    assert np.isnan(run("pow", x, 1.5)).all()
    assert (run("pow", x, 3.0) == -8).all()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("function", ["tanh", "erf", "expm1"])
def test_odd_functions_keep_the_sign_of_zero(function: str, run: Callable[..., Singles]) -> None:
    zeros = np.array([0.0, -0.0] * (LANES // 2), np.float32)
    assert (np.signbit(run(function, zeros)) == np.signbit(zeros)).all()


@pytest.mark.parametrize("function", sorted(ELEMENTARY))
def test_only_primitives_remain(function: str) -> None:
    more = [2.5] if function == "pow" else []
    kernel = elementary_kernel(function, 4, 4, *more)

    used = {
        part.function
        for root in expressions(kernel.body)
        for part in parts(root)
        if isinstance(part, Call)
    }
    assert used
    assert used <= PRIMITIVES


def test_equal_calls_are_computed_once_and_names_stay_apart() -> None:
    x, y = (Buffer(name, (4,), DType.F32, Layout.plain(1)) for name in ("x", "exp"))
    value = call("exp", x[0]) * call("exp", x[0]) + call("exp", call("tanh", x[1]))
    kernel = expand_elementary(Kernel("k", (x, y), ("exp",), (Store(y, (Const(2),), value),)))
    lets = [stmt.name for stmt in kernel.body[:-1]]
    assert len(set(lets)) == len(lets)
    assert not {"x", "exp"} & set(lets)
    assert sum(name.startswith("exp_") for name in lets) == 2
    memory = np.array([0.5, -3, 0, 0], np.float32), np.zeros(4, np.float32)
    run_kernel(kernel, memory)
    assert memory[1][2] == pytest.approx(np.exp(0.5) ** 2 + np.exp(np.tanh(-3.0)), rel=1e-6)


def test_kernel_without_elementary_functions_is_kept_as_it_is() -> None:
    kernel = elementary_kernel("sqrt", 16, 16)
    assert expand_elementary(kernel) is kernel


def test_other_element_types_are_refused() -> None:
    y = Buffer("y", (1,), DType.F64, Layout.plain(1))
    store = Store(y, (Const(0),), call("exp", y[0]))
    with pytest.raises(InternalError, match="exp of f64"):
        expand_elementary(Kernel("k", (y,), ("y",), (store,)))


def test_polynomials_are_what_the_script_computes() -> None:
    script = runpy.run_path(str(ROOT / "tests/lowering/fit_elementary.py"))
    assert script["ERF_SPLIT"] == polynomials.ERF_SPLIT
    assert script["ERF_END"] == polynomials.ERF_END
    for task in script["FITS"]:
        coefficients, _ = script["fit"](task)
        np.testing.assert_allclose(getattr(polynomials, task.name), coefficients, rtol=1e-5)
