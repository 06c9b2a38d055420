"""exp and what is made of it: expm1, sigmoid, silu, tanh and erf.

x = n log(2) + r, and a polynomial for exp(r) - 1 (J.-M. Muller, *Elementary Functions*, 3rd
edition, 2016, chapter 11: the reduction is by W. J. Cody and W. Waite).
"""

from math import log

from cnnc.base.record import record
from cnnc.loop.expr import Const, Expr, Fma, call, select
from cnnc.lowering import polynomials as table
from cnnc.lowering.lets import Scope
from cnnc.lowering.scalars import (
    F32,
    F64,
    ROUNDER,
    clamped,
    keep_nan,
    lowered_to,
    polynomial,
    raised_to,
    tiny,
)

LOG2_E = 1 / log(2)


@record
class _Form:
    """Numbers of an element type.

    log(2) is `high` + `low`: the first has few bits, so that small multiples of it are exact.
    Below `least`, exp is 0, and above `most` infinite; 1 + x is 1 where |x| is below `tiny`;
    exp(`negligible`) - 1 is -1. `near` and `far` are the polynomials of erf, `far` around `middle`;
    from `end` on it is 1.
    """

    high: float
    low: float
    exp: tuple[float, ...]
    least: float
    most: float
    tiny: float
    negligible: float
    near: tuple[float, ...]
    far: tuple[float, ...]
    middle: float
    end: float


FORMS = {
    F32: _Form(
        0.693145751953125,
        1.4286068203094172e-06,
        table.EXP_F32,
        -104.0,
        89.0,
        2.0**-25,
        -20.0,
        table.ERF_F32,
        table.LOG_ERFC_F32,
        0.0,
        table.ERF_END,
    ),
    F64: _Form(
        float.fromhex("0x1.62e42fee00000p-1"),
        float.fromhex("0x1.a39ef35793c76p-33"),
        table.EXP_F64,
        -746.0,
        710.0,
        2.0**-54,
        -40.0,
        table.ERF_F64,
        table.LOG_ERFC_F64,
        table.ERF_MIDDLE_F64,
        table.ERF_END_F64,
    ),
}


def form_of(x: Expr) -> _Form:
    """The numbers of a value's type."""
    assert x.dtype is not None
    return FORMS[x.dtype]


def exp(scope: Scope, x: Expr) -> Expr:
    """2**n (1 + p)."""
    form, x = form_of(x), scope.let("x", x)
    n, p = split(scope, clamped(scope, x, form.least, form.most))
    return keep_nan(x, call("ldexp", p + 1, n))


def expm1(scope: Scope, x: Expr) -> Expr:
    """2**n p + (2**n - 1), halved as the largest 2**n is infinite; x where it is tiny."""
    form, x = form_of(x), scope.let("x", x)
    n, p = split(scope, clamped(scope, x, form.least, form.most))
    half = scope.let("half", call("ldexp", Const(0.5, x.dtype), n))
    value = Fma(half, p, half - 0.5) * 2
    return keep_nan(x, select(tiny(x, form.tiny), x, value))


def sigmoid(scope: Scope, x: Expr) -> Expr:
    """With e = exp(-|x|): 1 / (1 + e), and e / (1 + e) where x is negative."""
    x = scope.let("x", x)
    e = scope.let("e", keep_nan(x, _decay(scope, x)))
    return select(x < 0, e, Const(1.0, x.dtype)) / (e + 1)


def silu(scope: Scope, x: Expr) -> Expr:
    """With e = exp(-|x|): x / (1 + e), and x e / (1 + e) where x is negative."""
    x = scope.let("x", x)
    e = scope.let("e", _decay(scope, x))
    return select(x < 0, x * e, x) / (e + 1)


def _decay(scope: Scope, x: Expr) -> Expr:
    """exp(-|x|), and 0 where x is NaN."""
    n, p = split(scope, raised_to(scope, -call("abs", x), form_of(x).least))
    return call("ldexp", p + 1, n)


def tanh(scope: Scope, x: Expr) -> Expr:
    """With t = exp(-2 |x|) - 1: -t / (2 + t), under the sign of x."""
    x = scope.let("x", x)
    n, p = split(scope, raised_to(scope, call("abs", x) * -2, form_of(x).negligible))
    scale = scope.let("scale", call("ldexp", Const(1.0, x.dtype), n))
    t = scope.let("t", Fma(scale, p, scale - 1))
    return keep_nan(x, call("copysign", t / (t + 2), x))


def erf(scope: Scope, x: Expr) -> Expr:
    """x + x P(x**2); far out 1 - exp(-(t + t Q(t))) with t = |x|."""
    form, x = form_of(x), scope.let("x", x)
    t = scope.let("t", lowered_to(scope, call("abs", x), form.end))
    near = Fma(x, polynomial(form.near, scope.let("z", t * t)), x)
    place = scope.let("place", t - form.middle) if form.middle else t
    exponent = -Fma(t, polynomial(form.far, place), t)
    n, p = split(scope, scope.let("e", exponent))
    far = call("copysign", 1 - call("ldexp", p + 1, n), x)
    return keep_nan(x, select(t < table.ERF_SPLIT, near, far))


def split(scope: Scope, x: Expr) -> tuple[Expr, Expr]:
    """n and p with exp(x) = 2**n (1 + p), for a named finite x."""
    form, dtype = form_of(x), x.dtype
    n = _quotient(scope, x)
    r: Expr = Fma(n, Const(-form.high, dtype), x)
    return n, remainder(scope, Fma(n, Const(-form.low, dtype), r), form.exp)


def split_wide(scope: Scope, x: Expr) -> tuple[Expr, Expr]:
    """As `split` in f64, as good as a result in f32 needs it."""
    n = _quotient(scope, x)
    return n, remainder(scope, Fma(n, Const(-log(2), F64), x), table.EXP_WIDE)


def remainder(scope: Scope, r: Expr, coefficients: tuple[float, ...]) -> Expr:
    """exp(r) - 1 for |r| ≤ log(2) / 2."""
    r = scope.let("r", r)
    square = scope.let("z", r * r)
    return scope.let("p", Fma(square, polynomial(coefficients, r), r))


def _quotient(scope: Scope, x: Expr) -> Expr:
    assert x.dtype is not None
    rounder = Const(ROUNDER[x.dtype], x.dtype)
    return scope.let("n", Fma(x, Const(LOG2_E, x.dtype), rounder) - rounder)
