"""Expressions of the loops as expressions of CUDA C++."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isnan

import numpy as np

from cnnc.base.dtype import DType
from cnnc.loop.affine import affine
from cnnc.loop.expr import (
    Binary,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Load,
    Local,
    Select,
    Var,
)
from cnnc.loop.interval import Range, bounds

TYPES: Mapping[DType, str] = {
    DType.F32: "float",
    DType.F64: "double",
    DType.I32: "int32_t",
    DType.I64: "int64_t",
    DType.U8: "uint8_t",
    DType.BOOL: "uint8_t",
}
"""Elements in memory; a truth value is a byte there and a `bool` elsewhere."""
ATOM, UNARY, PRODUCT, SUM, RELATION, EQUALITY, AND, OR, LOWEST = range(9)
"""How tightly operators bind, tightest first."""
_INFIX = {"add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT), "div": ("/", PRODUCT)}
_RELATIONS = {
    "lt": ("<", RELATION),
    "le": ("<=", RELATION),
    "eq": ("==", EQUALITY),
    "ne": ("!=", EQUALITY),
}
_FLOATS = {"sqrt": "sqrt", "abs": "fabs", "copysign": "copysign"}
_OWN = {"ldexp": "scaled", "exponent": "exponent", "mantissa": "mantissa"}
_TRUTHS = {
    "and": ("&&", AND),
    "mul": ("&&", AND),
    "min": ("&&", AND),
    "or": ("||", OR),
    "max": ("||", OR),
    "add": ("!=", EQUALITY),
    "sub": ("!=", EQUALITY),
}
Text = tuple[str, int]
"""An expression, and how tightly its outermost operator binds."""


def value_type(dtype: DType | None, index: str) -> str:
    """The type of a name for a value; None is an index."""
    if dtype is None:
        return index
    return "bool" if dtype is DType.BOOL else TYPES[dtype]


def within(text: Text, level: int) -> str:
    """The text as an operand of an operator that binds like this."""
    return text[0] if text[1] <= level else f"({text[0]})"


@dataclass
class Printer:
    """Prints expressions where these variables and names stand for these texts.

    `load` gives the text of an element; `ranges` bounds the variables; a variable whose range is a
    single number is that number.
    """

    load: Callable[[Load], Text]
    variables: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)
    locals: dict[str, str] = field(default_factory=dict)

    def index(self, expr: Expr) -> Text:
        """An index."""
        low, high = bounds(expr, self.ranges)
        if low == high:
            return str(low), ATOM if low >= 0 else UNARY
        match expr:
            case Var(name):
                return self.variables[name], ATOM
            case Binary("floordiv" | "mod" as op, left, right):
                return self._quotient(op, left, right)
            case Binary("min" | "max" as op, left, right):
                name = "lesser" if op == "min" else "larger"
                sides = ", ".join(f"{self.index(side)[0]}" for side in (left, right))
                kind = self.variables.get("", "int")
                return f"{name}<{kind}>({sides})", ATOM
            case Select(condition, then, otherwise):
                return self._choose(self.value(condition), self.index(then), self.index(otherwise))
        return self._sum(expr)

    def _sum(self, expr: Expr) -> Text:
        form = affine(expr)
        text, level = "", ATOM
        for term, factor in form.terms:
            if term == expr:
                match term:
                    case Binary("mul", left, right):
                        sides = self.index(left), self.index(right)
                        return f"{within(sides[0], PRODUCT)} * {within(sides[1], UNARY)}", PRODUCT
                raise TypeError(f"{expr!r} is no index")
            part = self.index(term)
            if part[0] == "0":
                continue
            size = abs(factor)
            piece = within(part, SUM if size == 1 and not text else PRODUCT)
            if size != 1:
                piece = f"{within(part, PRODUCT)} * {size}"
            if not text:
                text = f"-({piece})" if factor < 0 else piece
                level = UNARY if factor < 0 else PRODUCT if size != 1 else part[1]
            else:
                text, level = f"{text} {'-' if factor < 0 else '+'} {piece}", SUM
        if not text:
            return str(form.constant), ATOM
        if form.constant:
            sign = "+" if form.constant > 0 else "-"
            text, level = f"{text} {sign} {abs(form.constant)}", SUM
        return text, level

    def _quotient(self, op: str, left: Expr, right: Expr) -> Text:
        a, b = self.index(left), self.index(right)
        if bounds(left, self.ranges)[0] >= 0:
            sign = "/" if op == "floordiv" else "%"
            return f"{within(a, UNARY)} {sign} {within(b, UNARY)}", PRODUCT
        name = "floor_div" if op == "floordiv" else "floor_mod"
        return f"{name}<{self.variables.get('', 'int')}>({a[0]}, {b[0]})", ATOM

    def value(self, expr: Expr) -> Text:
        """A value of an element type."""
        match expr:
            case Const(number, dtype) if dtype is not None:
                return literal(number, dtype)
            case Local(name):
                return self.locals[name], ATOM
            case Load():
                return self.load(expr)
            case Compare(op, left, right):
                return self._compare(op, left, right)
            case Select(condition, then, otherwise):
                return self._choose(self.value(condition), self.value(then), self.value(otherwise))
            case Fma(a, b, c):
                sides = ", ".join(self.value(side)[0] for side in (a, b, c))
                return f"fma{_suffix(c.dtype)}({sides})", ATOM
            case Binary(op, left, right):
                return self._binary(op, left, right)
            case Call(function, args):
                sides = ", ".join(self.value(arg)[0] for arg in args)
                name = _OWN.get(function) or _FLOATS[function] + _suffix(expr.dtype)
                return f"{name}({sides})", ATOM
            case Cast(value, dtype):
                return self._cast(value, dtype)
        raise TypeError(f"{expr!r} cannot be written in CUDA C++")

    def _choose(self, condition: Text, then: Text, otherwise: Text) -> Text:
        sides = within(condition, OR), within(then, OR), within(otherwise, LOWEST)
        return f"{sides[0]} ? {sides[1]} : {sides[2]}", LOWEST

    def _compare(self, op: str, left: Expr, right: Expr) -> Text:
        sign, level = _RELATIONS[op]
        a, b = (self.index(s) if s.dtype is None else self.value(s) for s in (left, right))
        return f"{within(a, SUM)} {sign} {within(b, SUM)}", level

    def _binary(self, op: str, left: Expr, right: Expr) -> Text:
        a, b, dtype = self.value(left), self.value(right), left.dtype
        if dtype is DType.BOOL:
            sign, level = _TRUTHS[op]
            return f"{within(a, SUM)} {sign} {within(b, SUM)}", level
        assert dtype is not None
        if op in ("min", "max"):
            return f"{op}imum<{TYPES[dtype]}>({a[0]}, {b[0]})", ATOM
        if not dtype.is_float:
            return f"wrap_{op}<{TYPES[dtype]}>({a[0]}, {b[0]})", ATOM
        sign, level = _INFIX[op]
        return f"{within(a, level)} {sign} {within(b, level - 1)}", level

    def _cast(self, value: Expr, dtype: DType) -> Text:
        source = value.dtype
        text = self.index(value) if source is None else self.value(value)
        if source is dtype:
            return text
        if dtype is DType.BOOL:
            return f"{within(text, SUM)} != 0", EQUALITY
        if source is not None and source.is_float and not dtype.is_float:
            return f"to_{dtype}<{TYPES[source]}>({text[0]})", ATOM
        return f"({TYPES[dtype]}){within(text, ATOM)}", UNARY


def literal(value: int | float, dtype: DType) -> Text:
    """A constant; of a float, the shortest text that is read back as the same number."""
    if dtype is DType.BOOL:
        return ("true" if value else "false"), ATOM
    if not dtype.is_float:
        whole = int(value)
        if whole in (-(2**31), -(2**63)):
            return ("INT32_MIN" if dtype is DType.I32 else f"({whole + 1} - 1)"), ATOM
        return str(whole), ATOM if whole >= 0 else UNARY
    wide = dtype is DType.F64
    with np.errstate(over="ignore"):
        number = float(value if wide else np.float32(value))
    kind = TYPES[dtype]
    if isnan(number):
        return f"({kind})NAN", UNARY
    if abs(number) == inf:
        return f"{'-' * (number < 0)}({kind})INFINITY", UNARY
    text = repr(number) if wide else str(np.float32(number))
    text += "" if "." in text or "e" in text else ".0"
    return text + ("" if wide else "f"), UNARY if text.startswith("-") else ATOM


def _suffix(dtype: DType | None) -> str:
    """What ends the name of a function of the C library."""
    return "" if dtype is DType.F64 else "f"
