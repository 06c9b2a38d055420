"""log and log1p: x = 2**e (1 + f) with sqrt(1/2) ≤ 1 + f ≤ sqrt(2).

For f64, log(1 + f) = f - f**2 / 2 + s (f**2 / 2 + R) with s = f / (2 + f), the way of FDLIBM's
e_log.c (Sun Microsystems, 1993): the error of the division counts only s times.
"""

from math import inf, log, nan

from cnnc.loop.build import both
from cnnc.loop.expr import Const, Expr, Fma, call, compare, select
from cnnc.lowering import polynomials as table
from cnnc.lowering.exponentials import form_of
from cnnc.lowering.lets import Scope
from cnnc.lowering.scalars import F32, F64, is_zero, polynomial, tiny

SMALLEST_NORMAL = {F32: 2.0**-126, F64: 2.0**-1022}
DIGITS = {F32: 23, F64: 54}
"""Times so many powers of 2, subnormal numbers are normal."""
SQRT_2 = 2**0.5


def log_(scope: Scope, x: Expr) -> Expr:
    """e log(2) + log(1 + f)."""
    x = scope.let("x", x)
    e, f = split_any(scope, x)
    value = _with_exponent(scope, e, f, None)
    outside = select(is_zero(x), Const(-inf, x.dtype), Const(nan, x.dtype))
    return select(x > 0, select(x < inf, value, x), outside)


def log1p(scope: Scope, x: Expr) -> Expr:
    """log(u) + (1 + x - u) / u with u = 1 + x rounded; near zero the polynomial in x itself."""
    x, zero = scope.let("x", x), Const(0.0, x.dtype)
    u = scope.let("u", x + 1)
    lost = select(x < 1, x - (u - 1), 1 - (u - x))
    is_near = scope.let("is_near", both(x > SQRT_2 / 2 - 1, x < SQRT_2 - 1))
    e, f = split(scope, u)
    e = scope.let("e", select(is_near, zero, e))
    f = scope.let("f", select(is_near, x, f))
    lost = scope.let("lost", select(is_near, zero, lost / u))
    value = select(tiny(x, form_of(x).tiny), x, _with_exponent(scope, e, f, lost))
    outside = select(compare("eq", x, Const(-1.0, x.dtype)), Const(-inf, x.dtype), _nan(x))
    return select(x > -1, select(x < inf, value, x), outside)


def log_wide(scope: Scope, x: Expr) -> Expr:
    """log(x) in f64 of what was a float32: good to 2e-13."""
    e, f = split(scope, x)
    s = scope.let("s", f / (f + 2))
    z = scope.let("z", s * s)
    tail = s * z * polynomial(table.LOG_WIDE, z)
    value = Fma(e, Const(log(2), F64), Fma(s, Const(2.0, F64), tail))
    outside = select(is_zero(x), Const(-inf, F64), Const(nan, F64))
    return select(x > 0, select(x < inf, value, x), outside)


def split(scope: Scope, x: Expr) -> tuple[Expr, Expr]:
    """e and f with x = 2**e (1 + f) and sqrt(1/2) ≤ 1 + f ≤ sqrt(2), for positive normal x."""
    mantissa = scope.let("m", call("mantissa", x))
    is_large = scope.let("is_large", mantissa > SQRT_2)
    e = call("exponent", x)
    e = scope.let("e", select(is_large, e + 1, e))
    return e, scope.let("f", select(is_large, mantissa * 0.5, mantissa) - 1)


def split_any(scope: Scope, x: Expr) -> tuple[Expr, Expr]:
    """As `split`, for subnormal x too."""
    assert x.dtype is not None
    digits = DIGITS[x.dtype]
    is_small = scope.let("is_small", x < SMALLEST_NORMAL[x.dtype])
    normal = scope.let("normal", select(is_small, x * 2.0**digits, x))
    e, f = split(scope, normal)
    return scope.let("e", select(is_small, e - digits, e)), f


def _with_exponent(scope: Scope, e: Expr, f: Expr, lost: Expr | None) -> Expr:
    """e log(2) + log(1 + f), and a small number more."""
    form, dtype = form_of(f), f.dtype
    z = scope.let("z", f * f)
    low = Const(form.low, dtype)
    if dtype is F64:
        s = scope.let("s", f / (f + 2))
        square, half = scope.let("square", s * s), scope.let("half", z * 0.5)
        tail = square * polynomial(table.LOG_F64, square)
        rest: Expr = Fma(e, low, Fma(s, half + tail, -half))
        rest = rest if lost is None else rest + lost
    elif lost is None:
        cubic = f * z * polynomial(table.LOG_F32, f)
        rest = Fma(z, Const(-0.5, dtype), Fma(e, low, cubic))
    else:
        cubic = f * z * polynomial(table.LOG_F32, f)
        rest = Fma(e, low, Fma(z, Const(-0.5, dtype), cubic)) + lost
    return Fma(e, Const(form.high, dtype), f + rest)


def _nan(x: Expr) -> Expr:
    return Const(nan, x.dtype)
