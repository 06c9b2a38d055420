"""Element types and lanes of expressions."""

from cnnc.base.dtype import DType
from cnnc.loop.expr import (
    Binary,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Lanes,
    Load,
    Ramp,
    Select,
    children,
)
from cnnc.loop.functions import ELEMENTARY, PRIMITIVES

_TWO_OPERANDS = frozenset({"ldexp", "copysign", "pow"})


def find_type_fault(expr: Expr) -> str | None:
    """What is wrong with an expression, given that its parts are right; None if nothing is."""
    inner = children(expr)
    if len(inner) > 1 and len(lanes := {part.lanes for part in inner} - {1}) > 1:
        return f"vectors of {' and '.join(map(str, sorted(lanes)))} lanes"
    for part in inner:
        if type(part) is Ramp and not isinstance(expr, Cast | Load):
            return "a ramp that is neither an index nor converted"
    match expr:
        case Const(value, None) if not isinstance(value, int):
            return "an index that is no integer"
        case Ramp(base, width, _):
            return None if base.lanes == 1 and base.dtype is None and width > 1 else "invalid ramp"
        case Binary(op, left, right):
            return _binary(op, left, right)
        case Compare(_, left, right):
            return _same(left, right)
        case Select(condition, then, otherwise):
            holds = condition.dtype is DType.BOOL
            return _same(then, otherwise) if holds else "a condition that is no truth value"
        case Fma(a, b, c):
            return _same(a, b, c) or _floating(a)
        case Call(function, args):
            return _call(function, args)
        case Lanes(parts, places):
            return _same(*parts) or _taken(parts, places)
    return None


def _taken(parts: tuple[Expr, ...], places: tuple[int, ...]) -> str | None:
    count = len(places)
    if parts[0].dtype is None or count < 2 or any(part.lanes != count for part in parts):
        return "lanes of vectors of another width"
    inside = all(0 <= place < len(parts) * count for place in places)
    return None if inside else "lanes that no vector has"


def _binary(op: str, left: Expr, right: Expr) -> str | None:
    is_index, is_truth = left.dtype is None, left.dtype is DType.BOOL
    if is_truth is not (op in ("and", "or")):
        return f"{op} of {left.dtype}"
    if op in ("floordiv", "mod"):
        positive = isinstance(right, Const) and right.value > 0
        return (
            None if is_index and positive else f"{op} other than of an index by a positive number"
        )
    if op == "div" and is_index:
        return "division of an index that leaves a remainder"
    return _same(left, right) or (_floating(left) if op == "div" else None)


def _call(function: str, args: tuple[Expr, ...]) -> str | None:
    if function not in PRIMITIVES | ELEMENTARY:
        return f"unknown function {function}"
    if len(args) != 1 + (function in _TWO_OPERANDS):
        return f"{len(args)} operands"
    return _same(*args) or _floating(args[0])


def _floating(expr: Expr) -> str | None:
    is_float = expr.dtype is not None and expr.dtype.is_float
    return None if is_float else "operands that are not floating point"


def _same(*args: Expr) -> str | None:
    first = args[0].dtype
    for arg in args:
        if arg.dtype is not first:
            kinds = sorted({"index" if each.dtype is None else str(each.dtype) for each in args})
            return f"operands of {' and '.join(kinds)}"
    return None
