"""pow: |x|**y under the sign of x where y is odd, with the special cases of C.

For f32 by way of f64. For f64 log2(|x|) is a sum of two numbers with some 75 bits together, after
FDLIBM's e_pow.c (Sun Microsystems, 2004), without its table. Numbers are split by rounding them to
f32, so that the products that must be exact are exact with a fused multiply-add and without.
"""

from collections.abc import Callable
from math import inf, log, nan

from cnnc.loop.build import both
from cnnc.loop.expr import Cast, Const, Expr, call, compare, select
from cnnc.lowering import polynomials as table
from cnnc.lowering.exponentials import remainder, split_wide
from cnnc.lowering.lets import Scope
from cnnc.lowering.logarithms import log_wide, split_any
from cnnc.lowering.scalars import (
    F32,
    F64,
    clamped,
    either,
    is_zero,
    keep_nan,
    polynomial,
    rounded,
    single,
)

WHOLE = 2.0**52
"""From here on, every f64 is an integer."""
FACTOR = 2 / (3 * log(2))
FACTOR_HIGH = float.fromhex("0x1.ec709ep-1")
FACTOR_LOW = float.fromhex("-0x1.e2fe0145b01f5p-28")
"""2 / (3 log(2)) in two parts, the first with 24 bits."""


def pow_(scope: Scope, x: Expr, y: Expr) -> Expr:
    """A few constant powers by products, others by way of the logarithm."""
    if isinstance(y, Const) and y.value in _SMALL_POWERS:
        return _SMALL_POWERS[y.value](scope, scope.let("x", x))
    if x.dtype is F64:
        return _double(scope, x, y)
    return _single(scope, x, y)


def _single(scope: Scope, x: Expr, y: Expr) -> Expr:
    x, y = scope.let("x", Cast(x, F64)), scope.let("y", Cast(y, F64))
    size = scope.let("size", call("abs", x))
    power = scope.let("power", y * scope.let("log", log_wide(scope, size)))
    n, p = split_wide(scope, clamped(scope, power, -120.0, 120.0))
    value = keep_nan(power, call("ldexp", p + 1, n))
    one = Const(1.0, F64)
    value = scope.let("value", select(compare("eq", size, one), one, value))
    # A float32 this large is an even integer.
    small = scope.let("small", select(call("abs", y) >= 2.0**24, Const(0.0, F64), y))
    half = scope.let("half", small * 0.5)
    is_odd = both(compare("eq", small, rounded(small)), compare("ne", half, rounded(half)))
    value = select(is_odd, call("copysign", value, x), value)
    has_none = both(both(x < 0, x > -inf), compare("ne", small, rounded(small)))
    value = select(has_none, Const(nan, F64), value)
    is_one = compare("eq", x, one)
    return Cast(select(is_one, one, select(is_zero(y), one, value)), F32)


def _double(scope: Scope, x: Expr, y: Expr) -> Expr:
    x, y = scope.let("x", x), scope.let("y", y)
    size = scope.let("size", call("abs", x))
    value = scope.let("value", keep_nan(x, keep_nan(y, _of_size(scope, size, y))))
    times = scope.let("times", call("abs", y))
    half = scope.let("half", times * 0.5)
    is_odd = both(_is_whole(times), both(times < 2 * WHOLE, _has_fraction(half)))
    value = select(is_odd, call("copysign", value, x), value)
    has_none = both(both(x < 0, x > -inf), _has_fraction(times))
    value = select(has_none, Const(nan, F64), value)
    one = Const(1.0, F64)
    return select(either(compare("eq", x, one), is_zero(y)), one, value)


def _of_size(scope: Scope, size: Expr, y: Expr) -> Expr:
    """size**y for size ≥ 0."""
    high, low = _log2(scope, size)
    # Beyond this, all powers but those of 1 are 0 or infinite.
    y = clamped(scope, y, -(2.0**70), 2.0**70)
    top = scope.let("top", single(y))
    most = scope.let("most", top * high)
    rest = scope.let("rest", (y - top) * high + y * low)
    endless = Const(2000.0, F64)
    total = select(size < inf, most + rest, select(y > 0, endless, -endless))
    total = scope.let("total", select(size > 0, total, select(y > 0, -endless, endless)))
    kept = clamped(scope, total, -1080.0, 1030.0)
    n = scope.let("n", rounded(kept))
    inside = compare("eq", kept, total)
    r = select(inside, (most - n + rest) * log(2), Const(0.0, F64))
    return call("ldexp", remainder(scope, r, table.EXP_F64) + 1, n)


def _log2(scope: Scope, size: Expr) -> tuple[Expr, Expr]:
    """log2(size) as a sum, whose first part has 24 bits.

    With s = f / (2 + f), log(1 + f) = 2 / 3 s (3 + s**2 + r), and r is small.
    """
    e, f = split_any(scope, size)
    whole = scope.let("whole", f + 2)
    below = scope.let("below", single(whole))
    s = scope.let("s", f / whole)
    s_high = scope.let("s_high", single(s))
    s_low = (f - s_high * below) - s_high * (f - (below - 2))
    s_low = scope.let("s_low", s_low / whole)
    z_high = scope.let("z_high", s_high * s_high)
    z_low = scope.let("z_low", s_low * (s_high + s))
    z = scope.let("z", z_high + z_low)
    rest = scope.let("rest", z_low + z * z * polynomial(table.POW_F64, z))
    t_high = scope.let("t_high", single(z_high + 3 + rest))
    t_low = rest - ((t_high - 3) - z_high)
    high = scope.let("high", s_high * t_high)
    low = scope.let("low", s_low * t_high + t_low * s)
    p_high = scope.let("p_high", single(high + low))
    p_low = low - (p_high - high)
    high = scope.let("high", p_high * FACTOR_HIGH)
    low = scope.let("low", p_high * FACTOR_LOW + p_low * FACTOR)
    top = scope.let("log_high", single(high + low + e))
    return top, scope.let("log_low", low - ((top - e) - high))


def _has_fraction(size: Expr) -> Expr:
    """Whether a number ≥ 0 is no integer."""
    near = (size + WHOLE) - WHOLE
    return both(size < WHOLE, compare("ne", near, size))


def _is_whole(size: Expr) -> Expr:
    near = (size + WHOLE) - WHOLE
    return either(size >= WHOLE, compare("eq", near, size))


def _square(scope: Scope, x: Expr) -> Expr:
    return scope.let("square", x * x)


_SMALL_POWERS: dict[int | float, Callable[[Scope, Expr], Expr]] = {
    0: lambda scope, x: Const(1.0, x.dtype),
    0.5: lambda scope, x: select(x > -inf, call("sqrt", x) + 0.0, keep_nan(x, Const(inf, x.dtype))),
    1: lambda scope, x: x,
    2: _square,
    3: lambda scope, x: _square(scope, x) * x,
    4: lambda scope, x: _square(scope, _square(scope, x)),
}
