"""Elementary functions against float64, over all of float32, with a fused multiply-add or not."""

import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.loop.expr import (
    Buffer,
    Call,
    Const,
    call,
)
from cnnc.loop.functions import ELEMENTARY, PRIMITIVES
from cnnc.loop.kernel import (
    Kernel,
    Store,
    expressions,
)
from cnnc.loop.rewrite import parts
from cnnc.lowering import polynomials
from cnnc.lowering.elementary import expand_elementary
from tests.lowering.exhaustive import CHUNK, largest_errors
from tests.lowering.support import (
    BOUNDS,
    LANES,
    Singles,
    compile_native,
    elementary_kernel,
    interpreted,
    native,
    ulps,
)

ROOT = Path(__file__).resolve().parents[2]
SPECIALS = [
    *[0.0, 1.0, 2.0, 0.5, 1e-45, 3e-39, 1.1754944e-38, 3.4028235e38, np.inf],
    *[np.log(2) / 2, np.log(2), 88.72283, 88.72284, 89.0, 87.33655, 103.97, 103.98, 104.0, 1e4],
    *[np.sqrt(2) - 1, 1 - np.sqrt(0.5), 1 - 2.0**-24, 2.0**24, 3.0, 15.0],
    *[polynomials.ERF_SPLIT, polynomials.ERF_END, np.sqrt(2), np.sqrt(0.5), 2.0**-24, 2.0**-25],
]


@cache
def all_kinds_of_floats() -> Singles:
    """Special numbers, and a spread over all bit patterns whose low bits vary too."""
    spread = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    special_ones = np.array(SPECIALS, np.float32)
    near = [special_ones, np.nextafter(special_ones, 0, dtype=np.float32), -special_ones]
    values = np.concatenate([*near, np.array([np.nan, -np.nan], np.float32), spread])
    return np.resize(values, -(-len(values) // LANES) * LANES)


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


@pytest.mark.parametrize("fused", [True, False], ids=["fma", "no fma"])
@pytest.mark.parametrize("run", RUNS)
def test_error_of_silu(run: Callable[..., Singles], fused: bool) -> None:
    """Where exp(-|x|) is subnormal, it is off by half the least number, of which x are added."""
    x = all_kinds_of_floats()
    with np.errstate(all="ignore"):
        exact = np.where(x == -np.inf, np.nan, x.astype(np.float64) * expit(x.astype(np.float64)))
    found = run("silu", x, fused=fused)
    is_normal = ~(x < -87)
    assert ulps(found[is_normal], exact[is_normal]).max() <= 2.5
    off = np.abs(found[x < -87] - exact[x < -87])
    assert (off[np.isfinite(off)] <= 105 * 2.0**-149).all()
    assert np.array_equal(np.isnan(found), np.isnan(exact))


def test_the_exhaustive_check_measures_the_same() -> None:
    """`python -m tests.lowering.exhaustive`, on a few of its chunks, and on a wrong function."""
    run = compile_native("exp", CHUNK)
    (worst,) = largest_errors(np.exp, run, step=1024)
    assert 0.5 < worst.error <= BOUNDS["exp"][1]
    x = np.float32([worst.argument])
    assert ulps(np.resize(run(np.resize(x, CHUNK)), 1), np.exp(x.astype(np.float64))) == worst.error
    (worst,) = largest_errors(np.expm1, run, step=1024)
    assert worst.error > 1e6


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("function", ["tanh", "erf", "expm1", "log1p"])
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


def test_polynomials_are_what_the_script_computes() -> None:
    script = runpy.run_path(str(ROOT / "tests/lowering/fit_elementary.py"))
    assert script["ERF_SPLIT"] == polynomials.ERF_SPLIT
    assert script["ERF_END"] == polynomials.ERF_END
    for task in script["FITS"]:
        coefficients, _ = script["fit"](task)
        np.testing.assert_allclose(getattr(polynomials, task.name), coefficients, rtol=1e-5)
    for double in script["DOUBLES"]:
        coefficients, _ = script["interpolate"](double)
        np.testing.assert_allclose(getattr(polynomials, double.name), coefficients, rtol=1e-9)
