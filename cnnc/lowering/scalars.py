"""Small pieces that elementary functions are made of, for either type of floating point."""

from cnnc.base.dtype import DType
from cnnc.loop.expr import Cast, Const, Expr, Fma, binary, call, compare, select
from cnnc.lowering.lets import Scope

F32, F64 = DType.F32, DType.F64
ROUNDER = {F32: 1.5 * 2.0**23, F64: 1.5 * 2.0**52}
"""Adding and subtracting it rounds to the nearest integer."""


def polynomial(coefficients: tuple[float, ...], x: Expr) -> Expr:
    """Horner's scheme."""
    total: Expr = Const(coefficients[-1], x.dtype)
    for each in reversed(coefficients[:-1]):
        total = Fma(total, x, Const(each, x.dtype))
    return total


def raised_to(scope: Scope, x: Expr, low: float) -> Expr:
    """x, or `low` where that is larger or x is NaN."""
    x = scope.let("x", x)
    return scope.let("raised", select(x > low, x, Const(low, x.dtype)))


def lowered_to(scope: Scope, x: Expr, high: float) -> Expr:
    """x, or `high` where that is smaller or x is NaN."""
    x = scope.let("x", x)
    return scope.let("lowered", select(x < high, x, Const(high, x.dtype)))


def clamped(scope: Scope, x: Expr, low: float, high: float) -> Expr:
    """x between two numbers, and `low` where it is NaN."""
    raised = raised_to(scope, x, low)
    return scope.let("clamped", select(raised < high, raised, Const(high, x.dtype)))


def keep_nan(x: Expr, value: Expr) -> Expr:
    """The value, or x where that is NaN."""
    return select(compare("ne", x, x), x, value)


def rounded(x: Expr) -> Expr:
    """The nearest integer, for |x| < 2**51, or 2**22 in f32."""
    assert x.dtype is not None
    return x + ROUNDER[x.dtype] - ROUNDER[x.dtype]


def is_zero(x: Expr) -> Expr:
    """Whether x is 0 or -0."""
    return compare("eq", x, Const(0.0, x.dtype))


def single(x: Expr) -> Expr:
    """A value of f64 rounded to the 24 bits of f32: products of two such values are exact."""
    return Cast(Cast(x, F32), F64)


def tiny(x: Expr, bound: float) -> Expr:
    """Whether |x| is below a number."""
    return compare("lt", call("abs", x), Const(bound, x.dtype))


def either(left: Expr, right: Expr) -> Expr:
    """Logical or."""
    return binary("or", left, right)
