"""Ranges of index expressions."""

from collections.abc import Mapping

from cnnc.loop.expr import Binary, Const, Expr, Ramp, Select, Var

Range = tuple[int, int]
"""Smallest and largest value, both included."""


def bounds(expr: Expr, ranges: Mapping[str, Range]) -> Range:
    """Smallest and largest value of an index for variables in `ranges`.

    Raises KeyError for a variable without a range and TypeError for what is no index.
    """
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


def _binary(op: str, left: Range, right: Range) -> Range:
    (a, b), (c, d) = left, right
    match op:
        case "add":
            return a + c, b + d
        case "sub":
            return a - d, b - c
        case "mul":
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
