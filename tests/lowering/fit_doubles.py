"""Polynomials for float64: interpolated at Chebyshev nodes, in decimal arithmetic of 60 digits.

Such a polynomial's largest error is a small factor from the least there is (L. N. Trefethen,
*Approximation Theory and Approximation Practice*, 2013, theorem 16.1), and nothing is lost to the
rounding of float64 on the way. Coefficients are rounded once, at the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import count
from math import cos, factorial, log, pi, sqrt

REACH = log(2) / 2 * 1.003
"""Reduced arguments of exp; a little more, as the quotient is rounded before it is taken."""
ROOT_PI = Decimal("1.772453850905516027298167483341145182797549456122387128213808")


@dataclass(frozen=True, slots=True)
class Interpolation:
    """A polynomial for `function` on an interval; errors count `weight` times."""

    name: str
    doc: str
    function: Callable[[Decimal], Decimal]
    interval: tuple[float, float]
    degree: int
    weight: Callable[[Decimal], Decimal]


def series(term: Callable[[int], Decimal]) -> Decimal:
    """The terms added up until they are below 60 digits."""
    total = Decimal(0)
    for k in count():
        each = term(k)
        total += each
        if abs(each) < Decimal(10) ** -60 * max(abs(total), Decimal(10) ** -60):
            return total
    raise AssertionError


def exp_tail(r: Decimal) -> Decimal:
    """(exp(r) - 1 - r) / r**2"""
    return series(lambda k: r**k / factorial(k + 2))


def log_quotient_tail(z: Decimal) -> Decimal:
    """(log((1 + s) / (1 - s)) - 2 s) / s**3 of z = s**2"""
    return series(lambda k: 2 * z**k / (2 * k + 3))


def log_quotient_end(z: Decimal) -> Decimal:
    """3 / 2 of what log_quotient_tail is beyond 2 / 3, over z"""
    return series(lambda k: 3 * z**k / (2 * k + 5))


def erf_tail(z: Decimal) -> Decimal:
    """erf(x) / x - 1 of z = x**2"""
    return series(lambda k: 2 / ROOT_PI * (-z) ** k / (factorial(k) * (2 * k + 1))) - 1


def erfc(t: Decimal) -> Decimal:
    """1 - erf(t), by the series of Kummer's function, all of whose terms are positive"""
    z = t * t

    def term(k: int) -> Decimal:
        value = Decimal(1)
        for j in range(1, k + 1):
            value *= 2 * z / (2 * j + 1)
        return value

    return 1 - 2 * t * (-z).exp() / ROOT_PI * series(term)


def log_erfc_tail(x: Decimal) -> Decimal:
    """-log(erfc(t)) / t - 1 of x = t - ERF_MIDDLE"""
    t = x + Decimal(ERF_MIDDLE_F64)
    return -erfc(t).ln() / t - 1


ERF_SPLIT = 0.921875
ERF_END_F64 = 5.9375
ERF_MIDDLE_F64 = 2.0

DOUBLES = (
    Interpolation(
        "EXP_F64",
        "exp(r) = 1 + r + r**2 * P(r), |r| <= log(2) / 2; the error relative to exp(r) - 1",
        exp_tail,
        (-REACH, REACH),
        10,
        lambda r: abs(r),
    ),
    Interpolation(
        "LOG_F64",
        "log(1 + f) = 2 s + s**3 * P(s**2) with s = f / (2 + f), sqrt(1/2) <= 1 + f <= sqrt(2)",
        log_quotient_tail,
        (0, (3 - 2 * sqrt(2)) ** 2),
        7,
        lambda z: z / 2,
    ),
    Interpolation(
        "POW_F64",
        "as LOG_F64, from its second term on: 3 / 2 (P(s**2) - 2 / 3) / s**2",
        log_quotient_end,
        (0, (3 - 2 * sqrt(2)) ** 2),
        7,
        lambda z: z * z / 3,
    ),
    Interpolation(
        "ERF_F64",
        f"erf(x) = x + x * P(x**2), |x| <= {ERF_SPLIT}",
        erf_tail,
        (0, ERF_SPLIT**2),
        11,
        lambda z: Decimal(1),
    ),
    Interpolation(
        "LOG_ERFC_F64",
        f"log(1 - erf(t)) = -(t + t * P(t - {ERF_MIDDLE_F64})), {ERF_SPLIT} <= t <= {ERF_END_F64}; "
        "the error of erf(t)",
        log_erfc_tail,
        (ERF_SPLIT - ERF_MIDDLE_F64, ERF_END_F64 - ERF_MIDDLE_F64),
        24,
        lambda x: (x + Decimal(ERF_MIDDLE_F64)) * erfc(x + Decimal(ERF_MIDDLE_F64)),
    ),
)


def interpolate(task: Interpolation) -> tuple[list[float], float]:
    """Coefficients, lowest degree first, and the largest weighted error between the nodes."""
    with localcontext() as context:
        context.prec = 100
        nodes = points(task, task.degree + 1)
        slopes = [task.function(each) for each in nodes]
        for order in range(1, len(nodes)):
            for place in range(len(nodes) - 1, order - 1, -1):
                run = nodes[place] - nodes[place - order]
                slopes[place] = (slopes[place] - slopes[place - 1]) / run
        made = [Decimal(0)]
        for slope, node in zip(reversed(slopes), reversed(nodes), strict=True):
            shifted = [Decimal(0), *made]
            made = [a - node * b for a, b in zip(shifted, [*made, Decimal(0)], strict=True)]
            made[0] += slope
        coefficients = [float(each) for each in made[: task.degree + 1]]
        exact = [Decimal(each) for each in coefficients]
        return coefficients, float(max(abs(error(task, exact, x)) for x in points(task, 101)))


def error(task: Interpolation, coefficients: Sequence[Decimal], x: Decimal) -> Decimal:
    """The weighted error at a place."""
    total = Decimal(0)
    for each in reversed(coefficients):
        total = total * x + each
    return task.weight(x) * (total - task.function(x))


def points(task: Interpolation, number: int) -> list[Decimal]:
    """So many Chebyshev nodes of the interval."""
    low, high = task.interval
    angles = [(k + 0.5) * pi / number for k in range(number)]
    return [Decimal((low + high) / 2 + (high - low) / 2 * cos(each)) for each in angles]
