"""Powers against NumPy's: signs, special values, and errors over all of float32."""

from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import pytest

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
from tests.lowering.support import LANES, Reals, Singles, interpreted, native, ulps, vector_loop
from tests.lowering.test_elementary import RUNS, all_kinds_of_floats

POWERS = {1 / 3: 0.51, 0.5: 0.51, 1.5: 0.51, 2.0: 0.51, 3.0: 1.6, 4.0: 2.1, -1.25: 0.51, 7.3: 0.51,
          0.0: 0, 1.0: 0, -1.0: 0.51, -2.0: 0.51, -3.0: 0.51, 5.0: 0.51, 101.0: 0.51}  # fmt: skip
"""Exponents known when the code is made, and the largest error in units in the last place."""
SPECIAL = (0.0, 1.0, np.inf, 1e-45, 3e-39, 0.5, 2.0, 3.0, 3e38, 1 - 2.0**-24, 1 + 2.0**-23, 7.25)
WHOLE = (*range(12), 127.0, 128.0, 149.0, 2.0**23 - 1, 2.0**23 + 1, 2.0**24 - 1, 2.0**24, 1e10)
EXPONENTS = (*WHOLE, 0.5, 1.5, 2.5, 1e-3, 1 / 3, 2.0**22 + 0.5, 1e-45, 3e38, np.inf)


def test_known_exponents_of_all_floats() -> None:
    """Negative bases among them."""
    for run, (exponent, bound) in product((interpreted, native), POWERS.items()):
        x = all_kinds_of_floats()
        # The first ones are special; the interpreter is slow.
        x = x if run is native else np.concatenate([x[: LANES * 8], x[LANES * 8 :: LANES]])
        x = np.resize(x, -(-len(x) // LANES) * LANES)
        found = run("pow", x, exponent)
        exact = powers(x, np.float32(exponent))
        error = ulps(found, exact)
        worst = int(np.argmax(error))
        assert error[worst] <= bound, f"{error[worst]} ulp at {x[worst]!r} ^ {exponent}"
        assert_same_zeros(found, exact)


@pytest.mark.parametrize("run", RUNS)
def test_special_bases_with_special_exponents(run: Callable[..., Singles]) -> None:
    """Every pair, with both signs of both, and NaN."""
    bases = np.array([*SPECIAL, *(-x for x in SPECIAL), np.nan], np.float32)
    exponents = np.array([*EXPONENTS, *(-y for y in EXPONENTS), np.nan], np.float32)
    x, y = (grid.ravel() for grid in np.meshgrid(bases, exponents))
    check(run, x, y)


@pytest.mark.parametrize("run", RUNS)
def test_many_bases_with_many_exponents(run: Callable[..., Singles]) -> None:
    """Bases near 1 with large exponents, any bases with small ones, whole ones among them."""
    rng = np.random.default_rng(6)
    count = 2**15
    sign = rng.choice([-1, 1], count)
    near = sign * np.exp(rng.normal(0, 0.1, count)), rng.normal(0, 400, count)
    far = sign * 2.0 ** rng.uniform(-149, 128, count), rng.normal(0, 1.5, count)
    whole = sign * 2.0 ** rng.uniform(-9, 9, count), np.rint(rng.normal(0, 9, count))
    for x, y in (near, far, whole):
        check(run, x.astype(np.float32), y.astype(np.float32))


def check(run: Callable[..., Singles], x: Singles, y: Singles) -> None:
    """Powers with varying exponents equal NumPy's to half a unit in the last place."""
    size = -(-len(x) // LANES) * LANES
    x, y = np.resize(x, size), np.resize(y, size)
    found = varying(size, is_native=run is native)(x, y)
    exact = powers(x, y)
    error = ulps(found, exact)
    worst = int(np.argmax(error))
    assert error[worst] <= 0.51, f"{error[worst]} ulp at {x[worst]!r} ^ {y[worst]!r}"
    assert_same_zeros(found, exact)


@cache
def varying(size: int, *, is_native: bool) -> Callable[[Singles, Singles], Singles]:
    """z[i] = x[i] ** y[i] in vectors."""
    x, y, z = (Buffer(name, (size,), DType.F32, Layout.plain(1)) for name in "xyz")
    lanes = LANES if is_native else size
    loop = vector_loop(size, lanes, lambda i: Store(z, (i,), call("pow", x[i], y[i])))
    kernel = expand_elementary(expand_vectors(flatten(Kernel("k", (x, y, z), ("z",), (loop,)))))
    program = Program("p", (kernel,), (), (), (), (), 0, 0)
    executable = NATIVE.compile(program, host_target(), 1) if is_native else None

    def run(bases: Singles, exponents: Singles) -> Singles:
        found = np.full_like(bases, np.nan)
        operands = [bases, exponents, found]
        if executable is None:
            run_kernel(kernel, operands)
        else:
            executable.run_kernel(0, operands)
        return found

    return run


def powers(x: Singles, y: Singles | np.float32) -> Reals:
    """NumPy's, in float64; for a single exponent of 1/2 it would take the square root."""
    exponents = np.array(np.broadcast_to(y.astype(np.float64), x.shape))
    with np.errstate(all="ignore"):
        exact: Reals = np.power(x.astype(np.float64), exponents)
    return exact


def assert_same_zeros(found: Singles, exact: Reals) -> None:
    """Zeros and infinities have NumPy's sign."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
    edge = (rounded == 0) | np.isinf(rounded)
    np.testing.assert_array_equal(np.signbit(found[edge]), np.signbit(rounded[edge]))
