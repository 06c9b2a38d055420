"""Walking over expressions, and building them anew."""

from collections.abc import Callable, Iterator
from operator import is_

from cnnc.loop.expr import (
    Binary,
    Call,
    Cast,
    Compare,
    Expr,
    Fma,
    Lanes,
    Load,
    Ramp,
    Select,
    binary,
    children,
    compare,
    select,
)


def parts(expr: Expr) -> Iterator[Expr]:
    """The expression and everything inside it."""
    rest = [expr]
    while rest:
        yield (part := rest.pop())
        rest += children(part)[::-1]


def transform(expr: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """Rebuild bottom-up; `change` returns a replacement, or None to keep the rebuilt node."""
    if inner := children(expr):
        made = [transform(part, change) for part in inner]
        if not all(map(is_, made, inner)):
            expr = _rebuilt(expr, tuple(made))
    replacement = change(expr)
    return expr if replacement is None else replacement


def with_children(expr: Expr, parts: tuple[Expr, ...]) -> Expr:
    """The same expression over other parts, simplified again."""
    return expr if all(map(is_, parts, children(expr))) else _rebuilt(expr, parts)


def _rebuilt(expr: Expr, parts: tuple[Expr, ...]) -> Expr:
    match expr:
        case Binary(op, _, _):
            return binary(op, *parts)
        case Compare(op, _, _):
            return compare(op, *parts)
        case Load(buffer, _):
            return Load(buffer, parts)
        case Fma():
            return Fma(*parts)
        case Select():
            return select(*parts)
        case Call(function, _):
            return Call(function, parts)
        case Ramp(_, width, stride):
            return Ramp(parts[0], width, stride)
        case Cast(_, dtype):
            return Cast(parts[0], dtype)
        case Lanes(_, places):
            return Lanes(parts, places)
    raise TypeError(f"{type(expr).__name__} has no parts")
