"""Elementary functions as primitives, for values that backends have no instruction for.

Largest errors over all float32 arguments in units in the last place, with a fused multiply-add or
without (tests/lowering/test_elementary.py asserts them): log 0.9, log1p 1.0, exp 1.1, erf 1.3,
expm1 1.7, sigmoid 2.5, tanh 2.6; pow 0.51, but 1.6 for x**3 and 2.1 for x**4. NaN, infinities,
both zeros, subnormal arguments and subnormal results are right.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, log, nan

from cnnc.base.dtype import DType
from cnnc.base.errors import InternalError
from cnnc.loop.expr import (
    Call,
    Cast,
    Const,
    Expr,
    Fma,
    Local,
    both,
    call,
    compare,
    select,
)
from cnnc.loop.functions import ELEMENTARY
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Let, Stmt, Store, expressions, walk
from cnnc.loop.rewrite import parts, transform
from cnnc.lowering import polynomials as table

F32, F64 = DType.F32, DType.F64
LOG2_E = 1 / log(2)
LN2_HIGH, LN2_LOW = 0.693145751953125, 1.4286068203094172e-06
"""log(2) in two parts: the first has 16 bits, so that small multiples of it are exact."""
ROUNDER = {F32: 1.5 * 2.0**23, F64: 1.5 * 2.0**52}
"""Adding and subtracting it rounds to the nearest integer."""
SMALLEST_NORMAL = 2.0**-126
SQRT_2 = 2**0.5


def expand_elementary(kernel: Kernel) -> Kernel:
    """y = 1 + exp(x)  →  let e = …; y = 1 + e, with primitives and arithmetic only.

    For flat kernels whose vectors are expanded. InternalError for elements that are not f32.
    """
    if not any(_is_elementary(part) for root in expressions(kernel.body) for part in parts(root)):
        return kernel
    return kernel.with_body(_expand(kernel.body, _Names(_names(kernel))))


def _expand(body: Body, names: "_Names") -> Body:
    result: list[Stmt] = []
    for stmt in body:
        match stmt:
            case For():
                result.append(replace(stmt, body=_expand(stmt.body, names)))
            case Let(_, value) | Store(_, _, value):
                scope = _Scope(names)
                changed = replace(stmt, value=transform(value, scope.expand))
                result += [*scope.lets, changed]
            case _:
                result.append(stmt)
    return tuple(result)


class _Names:
    """Names that the kernel does not use yet."""

    def __init__(self, used: set[str]) -> None:
        self._used = used
        self._counts: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        """The name itself or with a number."""
        candidate = name
        while candidate in self._used:
            self._counts[name] = self._counts.get(name, 0) + 1
            candidate = f"{name}_{self._counts[name]}"
        self._used.add(candidate)
        return candidate


@dataclass(slots=True)
class _Scope:
    """What one statement needs to be computed before it."""

    names: _Names
    lets: list[Let] = field(default_factory=list)
    known: dict[Expr, Expr] = field(default_factory=dict)

    def let(self, name: str, value: Expr) -> Expr:
        """A name for a value; names and numbers stay as they are."""
        if isinstance(value, Local | Const):
            return value
        fresh = self.names.fresh(name)
        self.lets.append(Let(fresh, value))
        return Local(fresh, value.dtype, value.lanes)

    def expand(self, expr: Expr) -> Expr | None:
        """The value of an elementary function; None for all other expressions."""
        if not (isinstance(expr, Call) and expr.function in ELEMENTARY):
            return None
        if expr not in self.known:
            if expr.dtype is not F32:
                raise InternalError(f"{expr.function} of {expr.dtype} values", stage="lowering")
            self.known[expr] = self.let(expr.function, _EXPANSIONS[expr.function](self, *expr.args))
        return self.known[expr]


def _exp(scope: _Scope, x: Expr) -> Expr:
    """2**n (1 + p); below -104 it is 0, above 89 infinite."""
    x = scope.let("x", x)
    n, p = _split_exp(scope, _clamped(scope, x, -104.0, 89.0))
    return _keep_nan(x, call("ldexp", p + 1, n))


def _expm1(scope: _Scope, x: Expr) -> Expr:
    """2**n p + (2**n - 1), halved on the way as 2**128 is infinite; x where it is tiny."""
    x = scope.let("x", x)
    n, p = _split_exp(scope, _clamped(scope, x, -104.0, 89.0))
    half = scope.let("half", call("ldexp", Const(0.5, F32), n))
    value = Fma(half, p, half - 0.5) * 2
    tiny = compare("lt", call("abs", x), Const(2.0**-25, F32))
    return _keep_nan(x, select(tiny, x, value))


def _sigmoid(scope: _Scope, x: Expr) -> Expr:
    """With e = exp(-|x|): 1 / (1 + e), and e / (1 + e) where x is negative."""
    x = scope.let("x", x)
    e = scope.let("e", _exp(scope, -call("abs", x)))
    return select(x < 0, e, Const(1.0, F32)) / (e + 1)


def _tanh(scope: _Scope, x: Expr) -> Expr:
    """With t = exp(-2 |x|) - 1: -t / (2 + t), under the sign of x."""
    x = scope.let("x", x)
    n, p = _split_exp(scope, _clamped(scope, call("abs", x) * -2, -20.0, 0.0))
    scale = scope.let("scale", call("ldexp", Const(1.0, F32), n))
    t = scope.let("t", Fma(scale, p, scale - 1))
    return _keep_nan(x, call("copysign", t / (t + 2), x))


def _erf(scope: _Scope, x: Expr) -> Expr:
    """x + x P(x**2); far out 1 - exp(-(t + t Q(t))) with t = |x|."""
    x = scope.let("x", x)
    t = scope.let("t", _clamped(scope, call("abs", x), 0.0, table.ERF_END))
    near = Fma(x, _polynomial(table.ERF_F32, scope.let("z", t * t)), x)
    exponent = -Fma(t, _polynomial(table.LOG_ERFC_F32, t), t)
    n, p = _split_exp(scope, scope.let("e", exponent))
    far = call("copysign", 1 - call("ldexp", p + 1, n), x)
    return _keep_nan(x, select(t < table.ERF_SPLIT, near, far))


def _log(scope: _Scope, x: Expr) -> Expr:
    """e log(2) + log(1 + f) with x = 2**e (1 + f)."""
    x = scope.let("x", x)
    is_small = scope.let("is_small", x < SMALLEST_NORMAL)
    normal = scope.let("normal", select(is_small, x * 2.0**23, x))
    e, f = _split_log(scope, normal)
    e = scope.let("e", select(is_small, e - 23, e))
    z = scope.let("z", f * f)
    cubic = f * z * _polynomial(table.LOG_F32, f)
    rest = Fma(z, Const(-0.5, F32), Fma(e, Const(LN2_LOW, F32), cubic))
    value = Fma(e, Const(LN2_HIGH, F32), f + rest)
    outside = select(compare("eq", x, Const(0.0, F32)), Const(-inf, F32), Const(nan, F32))
    return select(x > 0, select(x < inf, value, x), outside)


def _log1p(scope: _Scope, x: Expr) -> Expr:
    """log(u) + (1 + x - u) / u with u = 1 + x rounded; near zero the polynomial in x itself."""
    x = scope.let("x", x)
    u = scope.let("u", x + 1)
    lost = select(x < 1, x - (u - 1), 1 - (u - x))
    is_near = scope.let("is_near", both(x > SQRT_2 / 2 - 1, x < SQRT_2 - 1))
    e, f = _split_log(scope, u)
    e = scope.let("e", select(is_near, Const(0.0, F32), e))
    f = scope.let("f", select(is_near, x, f))
    lost = scope.let("lost", select(is_near, Const(0.0, F32), lost / u))
    z = scope.let("z", f * f)
    cubic = f * z * _polynomial(table.LOG_F32, f)
    rest: Expr = Fma(z, Const(-0.5, F32), cubic)
    low = Fma(e, Const(LN2_LOW, F32), rest) + lost
    value: Expr = Fma(e, Const(LN2_HIGH, F32), f + low)
    tiny = compare("lt", call("abs", x), Const(2.0**-25, F32))
    value = select(tiny, x, value)
    outside = select(compare("eq", x, Const(-1.0, F32)), Const(-inf, F32), Const(nan, F32))
    return select(x > -1, select(x < inf, value, x), outside)


def _pow(scope: _Scope, x: Expr, y: Expr) -> Expr:
    """|x|**y through f64, under the sign of x where y is odd; the special cases of C."""
    if isinstance(y, Const) and y.value in _SMALL_POWERS:
        return _SMALL_POWERS[y.value](scope, scope.let("x", x))
    x, y = scope.let("x", Cast(x, F64)), scope.let("y", Cast(y, F64))
    size = scope.let("size", call("abs", x))
    power = scope.let("power", y * scope.let("log", _log_f64(scope, size)))
    n, p = _split_exp(scope, _clamped(scope, power, -120.0, 120.0))
    value = _keep_nan(power, call("ldexp", p + 1, n))
    one = Const(1.0, F64)
    value = scope.let("value", select(compare("eq", size, one), one, value))
    # A float32 this large is an even integer.
    small = scope.let("small", select(call("abs", y) >= 2.0**24, Const(0.0, F64), y))
    half = scope.let("half", small * 0.5)
    is_odd = both(compare("eq", small, _rounded(small)), compare("ne", half, _rounded(half)))
    value = select(is_odd, call("copysign", value, x), value)
    has_none = both(both(x < 0, x > -inf), compare("ne", small, _rounded(small)))
    value = select(has_none, Const(nan, F64), value)
    is_one = compare("eq", x, one)
    return Cast(select(is_one, one, select(_is_zero(y), one, value)), F32)


def _log_f64(scope: _Scope, x: Expr) -> Expr:
    """log(x) of what was a float32: good to 2e-13."""
    e, f = _split_log(scope, x)
    s = scope.let("s", f / (f + 2))
    z = scope.let("z", s * s)
    tail = s * z * _polynomial(table.LOG_F64, z)
    value = Fma(e, Const(log(2), F64), Fma(s, Const(2.0, F64), tail))
    outside = select(_is_zero(x), Const(-inf, F64), Const(nan, F64))
    return select(x > 0, select(x < inf, value, x), outside)


def _square(scope: _Scope, x: Expr) -> Expr:
    return scope.let("square", x * x)


_SMALL_POWERS: dict[int | float, Callable[[_Scope, Expr], Expr]] = {
    0: lambda scope, x: Const(1.0, F32),
    0.5: lambda scope, x: select(x > -inf, call("sqrt", x) + 0.0, _keep_nan(x, Const(inf, F32))),
    1: lambda scope, x: x,
    2: _square,
    3: lambda scope, x: _square(scope, x) * x,
    4: lambda scope, x: _square(scope, _square(scope, x)),
}

_EXPANSIONS: dict[str, Callable[..., Expr]] = {
    "exp": _exp,
    "expm1": _expm1,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "erf": _erf,
    "log": _log,
    "log1p": _log1p,
    "pow": _pow,
}


def _split_exp(scope: _Scope, x: Expr) -> tuple[Expr, Expr]:
    """n and p with exp(x) = 2**n (1 + p), for a named finite x."""
    dtype = x.dtype
    assert dtype is not None
    high, low = (LN2_HIGH, LN2_LOW) if dtype is F32 else (log(2), 0.0)
    rounder = Const(ROUNDER[dtype], dtype)
    n = scope.let("n", Fma(x, Const(LOG2_E, dtype), rounder) - rounder)
    r: Expr = Fma(n, Const(-high, dtype), x)
    if low:
        r = Fma(n, Const(-low, dtype), r)
    r = scope.let("r", r)
    coefficients = table.EXP_F32 if dtype is F32 else table.EXP_F64
    square = scope.let("z", r * r)
    return n, scope.let("p", Fma(square, _polynomial(coefficients, r), r))


def _split_log(scope: _Scope, x: Expr) -> tuple[Expr, Expr]:
    """e and f with x = 2**e (1 + f) and sqrt(1/2) ≤ 1 + f ≤ sqrt(2), for positive normal x."""
    mantissa = scope.let("m", call("mantissa", x))
    is_large = scope.let("is_large", mantissa > SQRT_2)
    e = call("exponent", x)
    e = scope.let("e", select(is_large, e + 1, e))
    return e, scope.let("f", select(is_large, mantissa * 0.5, mantissa) - 1)


def _polynomial(coefficients: tuple[float, ...], x: Expr) -> Expr:
    """Horner's scheme."""
    total: Expr = Const(coefficients[-1], x.dtype)
    for each in reversed(coefficients[:-1]):
        total = Fma(total, x, Const(each, x.dtype))
    return total


def _clamped(scope: _Scope, x: Expr, low: float, high: float) -> Expr:
    """x between two numbers, and `low` where it is NaN."""
    x = scope.let("x", x)
    raised = scope.let("raised", select(x > low, x, Const(low, x.dtype)))
    return scope.let("clamped", select(raised < high, raised, Const(high, x.dtype)))


def _keep_nan(x: Expr, value: Expr) -> Expr:
    return select(compare("ne", x, x), x, value)


def _rounded(x: Expr) -> Expr:
    """The nearest integer, for |x| < 2**51."""
    assert x.dtype is not None
    return x + ROUNDER[x.dtype] - ROUNDER[x.dtype]


def _is_zero(x: Expr) -> Expr:
    return compare("eq", x, Const(0.0, x.dtype))


def _is_elementary(expr: Expr) -> bool:
    return isinstance(expr, Call) and expr.function in ELEMENTARY


def _names(kernel: Kernel) -> set[str]:
    """Every name the kernel uses."""
    names = {param.name for param in kernel.params}
    for stmt in walk(kernel.body):
        match stmt:
            case For(var):
                names.add(var)
            case Alloc(buffer):
                names.add(buffer.name)
            case Let(name, _):
                names.add(name)
    return names
