"""Fits the polynomials of the elementary functions: prints cnnc/lowering/polynomials.py.

    python -m tests.lowering.fit_elementary > cnnc/lowering/polynomials.py

Each is a weighted minimax fit: Lawson's iteration over Chebyshev nodes. Coefficients for float32
are rounded one after the other, lowest degree first, and the rest is fitted again around them.
What computes in float64 for a float64 result is in fit_doubles.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import erfc, factorial, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from tests.lowering.fit_doubles import DOUBLES, ERF_END_F64, ERF_MIDDLE_F64, ERF_SPLIT, interpolate

Reals = NDArray[np.float64]
NODES = 400
ITERATIONS = 60
REACH = log(2) / 2 * 1.003
"""Reduced arguments of exp; a little more, as the quotient is rounded before it is taken."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A polynomial for `function` on an interval; errors count `weight` times."""

    name: str
    doc: str
    function: Callable[[Reals], Reals]
    interval: tuple[float, float]
    degree: int
    weight: Callable[[Reals], Reals]
    single: bool = True


def exp_tail(r: Reals) -> Reals:
    """(exp(r) - 1 - r) / r**2"""
    return sum_of(r**k / factorial(k + 2) for k in range(25))


def log_tail(f: Reals) -> Reals:
    """(log(1 + f) - f + f**2 / 2) / f**3"""
    return sum_of((-f) ** k / (k + 3) for k in range(60))


def log_quotient_tail(z: Reals) -> Reals:
    """(log((1 + s) / (1 - s)) - 2 s) / s**3 of z = s**2"""
    return sum_of(2 * z**k / (2 * k + 3) for k in range(25))


def erf_tail(z: Reals) -> Reals:
    """erf(x) / x - 1 of z = x**2"""
    series = sum_of((-z) ** k / (factorial(k) * (2 * k + 1)) for k in range(35))
    return 2 / sqrt(pi) * series - 1


def log_erfc_tail(t: Reals) -> Reals:
    """-log(erfc(t)) / t - 1"""
    return np.array([-log(erfc(each)) / each - 1 for each in t])


def sum_of(terms: Iterator[Reals]) -> Reals:
    """The terms added up, smallest last ones first."""
    total: Reals = np.sum(list(terms)[::-1], axis=0)
    return total


ERF_END = 3.9375

FITS = (
    Fit(
        "EXP_F32",
        "exp(r) = 1 + r + r**2 * P(r), |r| <= log(2) / 2; the error relative to exp(r) - 1",
        exp_tail,
        (-REACH, REACH),
        4,
        lambda r: np.abs(r),
    ),
    Fit(
        "LOG_F32",
        "log(1 + f) = f - f**2 / 2 + f**3 * P(f), sqrt(1/2) <= 1 + f <= sqrt(2)",
        log_tail,
        (sqrt(0.5) - 1, sqrt(2) - 1),
        8,
        lambda f: np.abs(f**3 / np.log1p(f)),
    ),
    Fit(
        "ERF_F32",
        f"erf(x) = x + x * P(x**2), |x| <= {ERF_SPLIT}",
        erf_tail,
        (0, ERF_SPLIT**2),
        5,
        lambda z: np.ones_like(z),
    ),
    Fit(
        "LOG_ERFC_F32",
        f"log(1 - erf(t)) = -(t + t * P(t)), {ERF_SPLIT} <= t <= {ERF_END}; the error of erf(t)",
        log_erfc_tail,
        (ERF_SPLIT, ERF_END),
        6,
        lambda t: t * np.array([erfc(each) / (1 - erfc(each)) for each in t]),
    ),
    Fit(
        "EXP_WIDE",
        "as EXP_F32, in float64; enough for a float32 result",
        exp_tail,
        (-REACH, REACH),
        6,
        lambda r: r**2,
        single=False,
    ),
    Fit(
        "LOG_WIDE",
        "log(1 + f) = 2 s + s**3 * P(s**2) with s = f / (2 + f); enough for a float32 result",
        log_quotient_tail,
        (0, (3 - 2 * sqrt(2)) ** 2),
        4,
        lambda z: z,
        single=False,
    ),
)


def fit(task: Fit) -> tuple[list[float], float]:
    """Coefficients, lowest degree first, and the largest weighted error."""
    low, high = task.interval
    angles = (np.arange(NODES) + 0.5) * pi / NODES
    x = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    weight, rest = task.weight(x), task.function(x)
    coefficients: list[float] = []
    while len(coefficients) <= task.degree:
        done = len(coefficients)
        powers = x[:, None] ** np.arange(done, task.degree + 1)
        found = minimax(powers, rest, weight)
        if not task.single:
            coefficients = [float(each) for each in found]
            break
        coefficients.append(float(np.float32(found[0])))
        rest = rest - coefficients[-1] * x**done
    value = np.polynomial.polynomial.polyval(x, coefficients)
    return coefficients, float(np.max(np.abs(weight * (value - task.function(x)))))


def minimax(powers: Reals, values: Reals, weight: Reals) -> Reals:
    """The combination of columns with the least largest weighted error."""
    scale = np.max(np.abs(powers), axis=0)
    columns = powers / scale * weight[:, None]
    share = np.full(len(values), 1 / len(values))
    best, least = np.zeros(powers.shape[1]), np.inf
    for _ in range(ITERATIONS):
        root = np.sqrt(share)
        found = np.linalg.lstsq(columns * root[:, None], values * weight * root, rcond=None)[0]
        error = np.abs(columns @ found - values * weight)
        if error.max() < least:
            best, least = found, error.max()
        share = share * (error + error.max() * 1e-3)
        share /= share.sum()
    return best / scale


HEADER = '''"""Coefficients of the elementary functions, lowest degree first.

tests/lowering/fit_elementary.py computes them and says how.
"""
'''


def main() -> None:
    """Print the module."""
    print(HEADER)
    print(f"ERF_SPLIT = {ERF_SPLIT}")
    print(f"ERF_END = {ERF_END}")
    print(f"ERF_MIDDLE_F64, ERF_END_F64 = {ERF_MIDDLE_F64}, {ERF_END_F64}")
    for task in FITS:
        show(task.name, task.doc, *fit(task))
    for double in DOUBLES:
        show(double.name, double.doc, *interpolate(double))


def show(name: str, doc: str, coefficients: Sequence[float], error: float) -> None:
    """Print one table."""
    print(f"\n{name} = (")
    for each in coefficients:
        print(f"    {each!r},")
    print(f')\n"""{doc}.\n\nLargest error {error:.1e}.\n"""')


if __name__ == "__main__":
    main()
