"""Ranges of index expressions."""

from collections.abc import Mapping

from cnnc.loop.expr import Binary, Const, Expr, Ramp, Select, Var

Range = tuple[int, int]
"""Smallest and largest value, both included."""
_CLOSED = ("sub", "mul", "min", "max")


def bounds(expr: Expr, ranges: Mapping[str, Range]) -> Range:
    """Smallest and largest value of an index for variables in `ranges`.

    Raises KeyError for a variable without a range and TypeError for what is no index.
    """
    if (plain := plain_bounds(expr, ranges)) is not None:
        return plain
    match expr:
        case Const(value, None):
            return int(value), int(value)
        case Var(name):
            return ranges[name]
        case Ramp(base, width, stride):
            low, high = bounds(base, ranges)
            last = (width - 1) * stride
            return low + min(0, last), high + max(0, last)
        case Select(_, then, otherwise):
            a, b = bounds(then, ranges), bounds(otherwise, ranges)
            return min(a[0], b[0]), max(a[1], b[1])
        case Binary(op, left, right):
            return _binary(op, bounds(left, ranges), bounds(right, ranges))
    raise TypeError(f"{expr!r} is no index")


def plain_bounds(expr: Expr, ranges: Mapping[str, Range]) -> Range | None:
    """`bounds` of what is made of integers, variables and operations on them, and of a ramp of it.

    None for all else, and for what is not well made. Nearly all indices are of this form, and to
    ask for bounds is what compiling does most.
    """
    if isinstance(expr, Ramp):
        first, last = _scalar_bounds(expr.base, ranges), (expr.width - 1) * expr.stride
        if first is None or expr.width < 2:
            return None
        return first[0] + min(0, last), first[1] + max(0, last)
    return _scalar_bounds(expr, ranges)


def _scalar_bounds(expr: Expr, ranges: Mapping[str, Range]) -> Range | None:
    if isinstance(expr, Var):
        return ranges.get(expr.name)
    if isinstance(expr, Const):
        value = expr.value
        return (value, value) if expr.type is None and isinstance(value, int) else None
    if not isinstance(expr, Binary):
        return None
    left = _scalar_bounds(expr.left, ranges)
    right = _scalar_bounds(expr.right, ranges)
    if left is None or right is None:
        return None
    op = expr.op
    if op == "add":
        return left[0] + right[0], left[1] + right[1]
    is_division = op in ("floordiv", "mod") and isinstance(expr.right, Const) and right[0] > 0
    return _binary(op, left, right) if is_division or op in _CLOSED else None


def _binary(op: str, left: Range, right: Range) -> Range:
    (a, b), (c, d) = left, right
    match op:
        case "add":
            return a + c, b + d
        case "sub":
            return a - d, b - c
        case "mul":
            if c == d:  # mostly: a coefficient
                return (a * c, b * c) if c >= 0 else (b * c, a * c)
            corners = (a * c, a * d, b * c, b * d)
            return min(corners), max(corners)
        case "min":
            return min(a, c), min(b, d)
        case "max":
            return max(a, c), max(b, d)
        case "floordiv" if c > 0:
            corners = (a // c, a // d, b // c, b // d)
            return min(corners), max(corners)
        case "mod" if c > 0:
            return (a % c, b % c) if c == d and a // c == b // c else (0, d - 1)
    raise TypeError(f"index operation {op} over {left} and {right}")
