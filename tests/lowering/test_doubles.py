"""Elementary functions of float64 against decimal arithmetic, and NumPy's at special values."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from functools import cache
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.backends.native.targets import host_target
from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.loop.expr import Buffer, call
from cnnc.loop.kernel import Kernel, Program, Store
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.flatten import flatten
from cnnc.lowering.vectors import expand_vectors
from tests.backends.compilers import NATIVE
from tests.lowering.fit_doubles import erfc
from tests.lowering.support import elementary_kernel, vector_loop, without_fma

Reals = NDArray[np.float64]
LANES = 8
SPECIAL = (
    0.0,
    5e-324,
    1e-310,
    2.3e-308,
    1e-20,
    0.5,
    1.0,
    709.5,
    710.0,
    745.2,
    1e4,
    1.7e308,
    np.inf,
)


def _tanh(x: Decimal) -> Decimal:
    return 1 - 2 / ((2 * x).exp() + 1)


TRUTHS: dict[str, tuple[Callable[[Decimal], Decimal], float]] = {
    "exp": (lambda x: x.exp(), 1.1),
    "expm1": (lambda x: x.exp() - 1, 2.0),
    "sigmoid": (lambda x: 1 / (1 + (-x).exp()), 2.5),
    "silu": (lambda x: x / (1 + (-x).exp()), 2.5),
    "tanh": (_tanh, 2.6),
    "erf": (lambda x: (1 - erfc(abs(x))).copy_sign(x), 1.3),
    "log": (lambda x: x.ln(), 0.9),
    "log1p": (lambda x: (1 + x).ln(), 1.0),
}
"""The truth, and the largest error in units in the last place."""
NUMPY: dict[str, Callable[[Reals], Reals]] = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "tanh", "log", "log1p")},
    "sigmoid": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "silu": lambda x: x * np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "erf": np.vectorize(math.erf),
}
EXPONENTS = {1 / 3: 1.2, 0.5: 0.51, 1.5: 1.2, 3.0: 1.6, 4.0: 2.1, -1.0: 1.2, -7.3: 1.2, 101.0: 1.2}


def compiled(
    function: str, size: int, *more: float, fused: bool = True
) -> Callable[[Reals], Reals]:
    """The function of `size` arguments as machine code."""
    kernel = elementary_kernel(function, size, LANES, *more, dtype=DType.F64)
    target = replace(host_target(), has_fma=fused and host_target().has_fma)
    executable = NATIVE.compile(Program("p", (kernel,), (), (), (), (), 0, 0), target, 1)

    def run(x: Reals) -> Reals:
        y = np.full_like(x, np.nan)
        executable.run_kernel(0, [x, y])
        return y

    return run


def interpreted(
    function: str, size: int, *more: float, fused: bool = True
) -> Callable[[Reals], Reals]:
    """The function by the interpreter, whose fused multiply-add rounds twice in float64."""
    kernel = elementary_kernel(function, size, size, *more, dtype=DType.F64)
    kernel = kernel if fused else without_fma(kernel)

    def run(x: Reals) -> Reals:
        y = np.full_like(x, np.nan)
        run_kernel(kernel, [x, y])
        return y

    return run


@cache
def arguments(count: int = 2048) -> Reals:
    """Of all sizes where functions are curved, with both signs."""
    rng = np.random.default_rng(3)
    sizes = np.exp(rng.uniform(-41, 6.6, count // 2)), np.abs(rng.normal(0, 1, count // 2))
    return np.concatenate(sizes) * rng.choice([-1.0, 1.0], count)


def ulps(found: Reals, exact: Sequence[Decimal]) -> Reals:
    """Distance in units in the last place of the exact value."""
    units = [Decimal(float(np.spacing(abs(float(each))))) for each in exact]
    pairs = zip(found, exact, units, strict=True)
    return np.array([float(abs(Decimal(float(a)) - b) / unit) for a, b, unit in pairs])


def inside(function: str, x: Reals) -> Reals:
    """Arguments for which there is a normal result."""
    match function:
        case "log":
            return np.abs(x)
        case "log1p":
            return np.where(x <= -1, -0.9 / x, x)
        case "erf":
            return np.where(np.abs(x) > 7, 1 / x, x)
    return np.clip(x, -700, 700)


@pytest.mark.parametrize("fused", [True, False], ids=["fma", "no fma"])
@pytest.mark.parametrize("make", [compiled, interpreted])
@pytest.mark.parametrize("function", TRUTHS)
def test_error_over_a_sample(
    function: str, make: Callable[..., Callable[[Reals], Reals]], fused: bool
) -> None:
    truth, bound = TRUTHS[function]
    x = inside(function, arguments())
    with localcontext() as context:
        context.prec = 60
        exact = [truth(Decimal(float(each))) for each in x]
        error = ulps(make(function, len(x), fused=fused)(x), exact)
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{error[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize("fused", [True, False], ids=["fma", "no fma"])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_error_of_powers_over_a_sample(exponent: float, fused: bool) -> None:
    x = np.abs(arguments(512))
    if abs(exponent) < 10:
        x = np.concatenate([x, 2.0 ** np.random.default_rng(1).uniform(-100, 95, 512)])
    with localcontext() as context:
        context.prec = 60
        exact = [(Decimal(exponent) * Decimal(float(each)).ln()).exp() for each in x]
        inside = [Decimal("1e-300") < each < Decimal("1e300") for each in exact]
        x, exact = x[inside], [each for each, kept in zip(exact, inside, strict=True) if kept]
        size = len(x) // LANES * LANES
        found = compiled("pow", size, exponent, fused=fused)(x[:size])
        error = ulps(found, exact[:size])
    worst = int(np.argmax(error))
    assert error[worst] <= EXPONENTS[exponent], f"{error[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize("make", [compiled, interpreted])
@pytest.mark.parametrize("function", TRUTHS)
def test_special_values(function: str, make: Callable[..., Callable[[Reals], Reals]]) -> None:
    """NumPy's to two units in the last place of normal numbers, with its zeros and infinities."""
    near = [np.nextafter(each, 0) for each in SPECIAL if 0 < each < np.inf]
    values = [sign * each for each in (*SPECIAL, *near) for sign in (1, -1)]
    x = np.array([*values, np.nan])
    x = np.resize(x, -(-len(x) // LANES) * LANES)
    with np.errstate(all="ignore"):
        exact = NUMPY[function](x)
    assert_close(make(function, len(x))(x), exact)


def assert_close(found: Reals, exact: Reals) -> None:
    """Within four units in the last place; zeros, infinities and NaN are the same."""
    edge = (exact == 0) | ~np.isfinite(exact)
    np.testing.assert_array_equal(found[edge], exact[edge])
    np.testing.assert_array_equal(np.signbit(found[exact == 0]), np.signbit(exact[exact == 0]))
    np.testing.assert_allclose(found[~edge], exact[~edge], rtol=2.0**-50, atol=2.0**-1074)


BASES = (0.0, 1.0, np.inf, 5e-324, 1e-310, 0.5, 2.0, 3.0, 1e308, 1 - 2.0**-53, 1 + 2.0**-52, 7.25)
WHOLE = (*range(8), 1023.0, 1074.0, 2.0**52 - 1, 2.0**52 + 1, 2.0**53 - 1, 2.0**53, 1e300)
POWERS = (*WHOLE, 0.5, 1.5, 2.5, 1e-3, 1 / 3, 2.0**51 + 0.5, 5e-324, np.inf, 1e-300)


@pytest.mark.parametrize("is_native", [True, False])
def test_special_bases_with_special_exponents(is_native: bool) -> None:
    """Every pair, with both signs of both, and NaN; then many ordinary ones."""
    bases = [*BASES, *(-x for x in BASES), np.nan]
    exponents = [*POWERS, *(-y for y in POWERS), np.nan]
    rng = np.random.default_rng(6)
    ordinary = (
        rng.choice([-1, 1], 4096) * np.exp(rng.normal(0, 0.1, 4096)),
        rng.normal(0, 2000, 4096),
    )
    whole = rng.normal(0, 3, 1024), np.rint(rng.normal(0, 30, 1024))
    grid = np.array([*product(bases, exponents)]).T
    x, y = (np.concatenate(each) for each in zip(grid, ordinary, whole, strict=True))
    size = len(x) // LANES * LANES
    x, y = x[:size].copy(), y[:size].copy()
    with np.errstate(all="ignore"):
        exact = np.power(x, y)
    assert_close(_powers(x, y, is_native=is_native), exact)


def _powers(x: Reals, y: Reals, *, is_native: bool) -> Reals:
    size = len(x)
    buffers = [Buffer(name, (size,), DType.F64, Layout.plain(1)) for name in "xyz"]
    a, b, z = buffers
    lanes = LANES if is_native else size
    loop = vector_loop(size, lanes, lambda i: Store(z, (i,), call("pow", a[i], b[i])))
    flat = expand_vectors(flatten(Kernel("k", tuple(buffers), ("z",), (loop,))))
    kernel = expand_elementary(flat)
    found = np.full_like(x, np.nan)
    if is_native:
        program = Program("p", (kernel,), (), (), (), (), 0, 0)
        NATIVE.compile(program, host_target(), 1).run_kernel(0, [x, y, found])
    else:
        run_kernel(kernel, [x, y, found])
    return found
