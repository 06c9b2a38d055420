"""Expressions of the loops as expressions of C."""

from collections.abc import Callable, Sequence

from cnnc.backends.c.helpers import Helper, Preamble
from cnnc.backends.c.literals import literal
from cnnc.backends.c.types import (
    ATOM,
    BIT_AND,
    BIT_OR,
    EQUALITY,
    LOWEST,
    PRODUCT,
    RELATION,
    SUM,
    UNARY,
    Value,
    mask_bits,
)
from cnnc.base.dtype import DType
from cnnc.loop.affine import Affine, affine
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
    Local,
    Ramp,
    Select,
    Var,
)
from cnnc.loop.interval import Range, bounds

_INFIX = {"add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT), "div": ("/", PRODUCT)}
_RELATIONS = {"lt": ("<", RELATION), "le": ("<=", RELATION), "eq": ("==", EQUALITY),
              "ne": ("!=", EQUALITY)}  # fmt: skip


class Expressions:
    """Writes expressions where these variables and names are in scope.

    `variables` are loop variables: their names in C, or their only value; `ranges` bounds them.
    `load` writes a load.
    """

    def __init__(self, preamble: Preamble, load: Callable[[Load], Value]) -> None:
        self.preamble = preamble
        self.variables: dict[str, str | int] = {}
        self.ranges: dict[str, Range] = {}
        self.locals: dict[str, Value] = {}
        self._load = load

    def index(self, expr: Expr) -> Value:
        """An index, with what is known of its variables put in."""
        return self.sum(affine(expr))

    def sum(self, form: Affine, divisor: int = 1) -> Value:
        """A sum that this number divides."""
        constant, parts = form.constant, list[tuple[Value, int]]()
        for term, factor in form.terms:
            number = self.known(term)
            if number is None:
                parts.append((self._term(term), factor // divisor))
            else:
                constant += number * factor
        constant //= divisor
        return _sum(parts, constant)

    def known(self, expr: Expr) -> int | None:
        """An index's value, where it is the same in every turn."""
        match expr:
            case Const(value, None):
                return int(value)
            case Var(name):
                found = self.variables[name]
                return found if isinstance(found, int) else None
        low, high = bounds(expr, self.ranges)
        return low if low == high else None

    def _term(self, expr: Expr) -> Value:
        match expr:
            case Var(name):
                return Value(str(self.variables[name]), ATOM, None)
            case Binary("max" | "min" as op, left, right):
                self.preamble.need(Helper(f"index_{op}"))
                text = f"index_{op}({self.index(left).text}, {self.index(right).text})"
                return Value(text, ATOM, None)
            case Binary("floordiv" | "mod" as op, left, right):
                return self._quotient(op, left, right)
            case Binary("mul", left, right):
                a, b = self.index(left), self.index(right)
                return Value(f"{a.within(PRODUCT)} * {b.within(UNARY)}", PRODUCT, None)
        return self.index(expr)

    def _quotient(self, op: str, left: Expr, right: Expr) -> Value:
        a, b = self.index(left), self.index(right)
        if bounds(left, self.ranges)[0] >= 0:
            symbol = "/" if op == "floordiv" else "%"
            return Value(f"{a.within(UNARY)} {symbol} {b.within(UNARY)}", PRODUCT, None)
        name = "floor_div" if op == "floordiv" else "floor_mod"
        self.preamble.need(Helper(name))
        return Value(f"{name}({a.text}, {b.text})", ATOM, None)

    def value(self, expr: Expr) -> Value:
        """A value of an element type."""
        match expr:
            case Const(number, dtype):
                found = literal(number, dtype)
                if "INFINITE" in found.text or "NAN" in found.text:
                    self.preamble.need(Helper("special", dtype or DType.F32))
                return found
            case Local(name, _, _):
                return self.locals[name]
            case Load():
                return self._load(expr)
            case Compare(op, left, right):
                return self._compare(op, left, right)
            case Select():
                return self._select(expr)
            case Fma(a, b, c):
                return self._call("fma", self.value(a), self.value(b), self.value(c))
            case Binary(op, left, right):
                return self._binary(op, self.value(left), self.value(right))
            case Call(function, args):
                return self._call(function, *map(self.value, args))
            case Cast(value, dtype):
                return self._cast(value, dtype)
            case Lanes(parts, places):
                return self._lanes(list(map(self.value, parts)), places)
        raise TypeError(f"{expr!r} cannot be written in C")

    def _lanes(self, parts: Sequence[Value], places: Sequence[int]) -> Value:
        lanes, first = len(places), parts[0]
        taken = (divmod(place, lanes) for place in places)
        elements = ", ".join(f"{parts[part].within(ATOM)}[{lane}]" for part, lane in taken)
        return Value(f"({first.c_type}){{{elements}}}", ATOM, first.dtype, lanes, first.mask)

    def wide(self, value: Value, lanes: int) -> str:
        """The value's text, in every lane if it is a scalar."""
        if lanes == 1 or value.lanes > 1:
            return value.text
        assert value.dtype is not None
        return f"{self.preamble.call('splat', value.dtype, lanes)}({value.text})"

    def mask(self, value: Value, lanes: int, bits: int) -> Value:
        """A truth value as a mask of so many bits a lane."""
        kind = self.preamble.vector(f"i{bits}", lanes)
        if value.lanes == 1:
            whole = self.preamble.vector("i32", lanes)
            text = f"({whole}){{0}} - ({value.text})"
            if bits == 32:
                return Value(text, SUM, DType.BOOL, lanes, bits)
            return Value(f"__builtin_convertvector({text}, {kind})", ATOM, DType.BOOL, lanes, bits)
        if value.mask == bits:
            return value
        text = f"__builtin_convertvector({value.text}, {kind})"
        return Value(text, ATOM, DType.BOOL, lanes, bits)

    def _call(self, name: str, *args: Value, op: str = "") -> Value:
        dtype, lanes = args[0].dtype, max(arg.lanes for arg in args)
        assert dtype is not None
        function = self.preamble.call(name, dtype, lanes, op=op)
        text = f"{function}({', '.join(self.wide(arg, lanes) for arg in args)})"
        return Value(text, ATOM, dtype, lanes)

    def _binary(self, op: str, a: Value, b: Value) -> Value:
        lanes = max(a.lanes, b.lanes)
        if a.dtype is DType.BOOL:
            return self._logical(op, a, b, lanes)
        assert a.dtype is not None
        if not a.dtype.is_float or op in ("min", "max"):
            return self._call(op, a, b)
        symbol, level = _INFIX[op]
        return Value(f"{a.within(level)} {symbol} {b.within(level - 1)}", level, a.dtype, lanes)

    def _logical(self, op: str, a: Value, b: Value, lanes: int) -> Value:
        if lanes == 1:
            symbol = "&&" if op == "and" else "||"
            return Value(f"{a.within(EQUALITY)} {symbol} {b.within(EQUALITY)}", LOWEST, DType.BOOL)
        bits = max(a.mask, b.mask)
        a, b = self.mask(a, lanes, bits), self.mask(b, lanes, bits)
        symbol, level = ("&", BIT_AND) if op == "and" else ("|", BIT_OR)
        text = f"{a.within(UNARY)} {symbol} {b.within(UNARY)}"
        return Value(text, level, DType.BOOL, lanes, bits)

    def _compare(self, op: str, left: Expr, right: Expr) -> Value:
        symbol, level = _RELATIONS[op]
        is_index = left.dtype is None
        a, b = (self.index(side) if is_index else self.value(side) for side in (left, right))
        lanes = max(a.lanes, b.lanes)
        if lanes == 1:
            text = f"{a.within(SUM)} {symbol} {b.within(SUM)}"
            return Value(text, level, DType.BOOL)
        if a.dtype is DType.BOOL:
            bits = max(a.mask, b.mask)
            first, second = (
                self.mask(a, lanes, bits).within(SUM),
                self.mask(b, lanes, bits).within(SUM),
            )
        else:
            assert a.dtype is not None
            bits = mask_bits(a.dtype)
            first, second = self._operand(a, lanes), self._operand(b, lanes)
        kind = self.preamble.vector(f"i{bits}", lanes)
        return Value(f"({kind})({first} {symbol} {second})", UNARY, DType.BOOL, lanes, bits)

    def _operand(self, value: Value, lanes: int) -> str:
        return value.within(SUM) if value.lanes > 1 else self.wide(value, lanes)

    def _select(self, expr: Select) -> Value:
        condition, lanes = expr.condition, expr.lanes
        dtype = expr.then.dtype
        assert dtype is not None
        is_plain = isinstance(condition, Compare) and condition.left.dtype is dtype
        if is_plain and dtype.is_float and condition.lanes > 1:
            assert isinstance(condition, Compare)
            return self._choice(condition, expr.then, expr.otherwise, lanes)
        test, then, otherwise = map(self.value, (condition, expr.then, expr.otherwise))
        if test.lanes > 1:
            bits = (
                max(then.mask, otherwise.mask, test.mask)
                if dtype is DType.BOOL
                else 8 * dtype.bytes
            )
            return self._masked(self.mask(test, lanes, bits), then, otherwise, bits)
        if dtype is DType.BOOL and lanes > 1:
            bits = max(then.mask, otherwise.mask)
            then, otherwise = self.mask(then, lanes, bits), self.mask(otherwise, lanes, bits)
            text = f"{test.within(RELATION)} ? {then.within(SUM)} : {otherwise.within(SUM)}"
            return Value(text, LOWEST, dtype, lanes, bits)
        first, second = (
            self.wide(each, lanes) if each.lanes < lanes else each.within(BIT_OR)
            for each in (then, otherwise)
        )
        text = f"{test.within(EQUALITY)} ? {first} : {second}"
        return Value(text, LOWEST, dtype, lanes)

    def _choice(self, test: Compare, then: Expr, otherwise: Expr, lanes: int) -> Value:
        """A select between floats that such floats decide."""
        a, b = self.value(test.left), self.value(test.right)
        if test.op == "lt" and {then, otherwise} == {test.left, test.right}:
            # wide beforehand: at least one is
            return self._call("larger", b, a) if then == test.right else self._call("smaller", a, b)
        return self._call("if", a, b, self.value(then), self.value(otherwise), op=test.op)

    def _masked(self, test: Value, then: Value, otherwise: Value, bits: int) -> Value:
        lanes, dtype = test.lanes, then.dtype
        assert dtype is not None
        if dtype is DType.BOOL:
            then, otherwise = self.mask(then, lanes, bits), self.mask(otherwise, lanes, bits)
            chosen = f"({test.within(UNARY)} & {then.within(UNARY)})"
            other = f"(~{test.within(UNARY)} & {otherwise.within(UNARY)})"
            return Value(f"{chosen} | {other}", BIT_OR, dtype, lanes, bits)
        function = self.preamble.call("select", dtype, lanes)
        args = (test.text, self.wide(then, lanes), self.wide(otherwise, lanes))
        return Value(f"{function}({', '.join(args)})", ATOM, dtype, lanes)

    def _cast(self, value: Expr, dtype: DType) -> Value:
        match value:
            case Ramp(base, width, stride):
                function = self.preamble.call("ramp", dtype, width)
                return Value(f"{function}({self.index(base).text}, {stride})", ATOM, dtype, width)
        if value.dtype is None:
            number = self.index(value)
            if dtype is DType.BOOL:
                return Value(f"{number.within(SUM)} != 0", EQUALITY, dtype)
            return Value(f"({literal(0, dtype).c_type}){number.within(UNARY)}", UNARY, dtype)
        found = self.value(value)
        return found if found.dtype is dtype else self._converted(found, dtype)

    def _converted(self, value: Value, dtype: DType) -> Value:
        lanes, source = value.lanes, value.dtype
        assert source is not None
        if dtype is DType.BOOL:
            return self._truth(value)
        if source.is_float and not dtype.is_float:
            function = self.preamble.convert(source, dtype, lanes)
            return Value(f"{function}({value.text})", ATOM, dtype, lanes)
        if lanes == 1:
            return Value(f"({literal(0, dtype).c_type}){value.within(UNARY)}", UNARY, dtype)
        kind = self.preamble.vector(str(dtype), lanes)
        text = f"{value.within(UNARY)} & 1" if source is DType.BOOL else value.text
        return Value(f"__builtin_convertvector({text}, {kind})", ATOM, dtype, lanes)

    def _truth(self, value: Value) -> Value:
        assert value.dtype is not None
        zero = literal(0, value.dtype)
        if value.lanes == 1:
            return Value(f"{value.within(SUM)} != {zero.text}", EQUALITY, DType.BOOL)
        bits = mask_bits(value.dtype)
        kind = self.preamble.vector(f"i{bits}", value.lanes)
        text = f"({kind})({value.within(SUM)} != {self.wide(zero, value.lanes)})"
        return Value(text, UNARY, DType.BOOL, value.lanes, bits)


def _sum(parts: list[tuple[Value, int]], constant: int) -> Value:
    text, level = "", ATOM
    for value, factor in parts:
        size = abs(factor)
        one = value.within(PRODUCT) if size == 1 else f"{value.within(PRODUCT)} * {size}"
        if not text:
            text = (
                one
                if factor > 0
                else f"-{value.within(UNARY)}" + (f" * {size}" if size > 1 else "")
            )
            level = value.level if factor == 1 else PRODUCT
        else:
            text, level = f"{text} {'+' if factor > 0 else '-'} {one}", SUM
    if not text:
        return literal(constant, None)
    if constant:
        text, level = f"{text} {'+' if constant > 0 else '-'} {abs(constant)}", SUM
    return Value(text, level, None)
