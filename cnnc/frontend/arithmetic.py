"""Arithmetic of the language on numbers, truth values and lists; tensors are none of its business.

Integers are exact and stay below 2^63 in size. `/` of two integers is an integer where it comes out
even, otherwise a real number; `//` and `%` round down.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence

from cnnc.base.record import record
from cnnc.frontend.values import Range, Value, is_number, kind, show

Number = int | float
MAX_INTEGER = 2**63 - 1


class NoValueError(Exception):
    """An expression has no value: code, text, note and help of its diagnostic.

    `operand` is the index of the operand to blame, None for the whole expression.
    """

    def __init__(
        self,
        code: str,
        message: str,
        operand: int | None = None,
        *,
        note: str | None = None,
        help: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.operand = operand
        self.note = note
        self.help = help


def compute(symbol: str, left: Value, right: Value) -> Number:
    """`left symbol right` on numbers; NoValueError where there is no finite result."""
    a, b = _numbers(symbol, left, right)
    if symbol in ("/", "//", "%") and b == 0:
        raise NoValueError("E0213", "division by zero", 1, note=f"{show(a)} {symbol} {show(b)}")
    if symbol == "^":
        return _power(a, b)
    return within_limits(_BINARY[symbol](a, b), f"{show(a)} {symbol} {show(b)}")


def negate(value: Value) -> Number:
    """`-value`; NoValueError unless it is a number."""
    return compute("-", 0, value) if isinstance(value, int) else compute("*", -1, value)


def compare(symbol: str, left: Value, right: Value) -> bool:
    """`left symbol right`; NoValueError where the two cannot be compared."""
    if symbol in ("==", "!="):
        same = _is_equal(left, right)
        return same if symbol == "==" else not same
    a, b = _numbers(symbol, left, right)
    return _ORDER[symbol](a, b)


def is_one_of(value: Value, choices: Range | tuple[Value, ...]) -> bool:
    """Whether the value is in the range, or equal to an item of the list."""
    if isinstance(choices, Range) and isinstance(value, Range):
        return choices.holds(value.low) and choices.holds(value.high)
    if isinstance(choices, Range):
        return isinstance(value, int | float) and is_number(value) and choices.holds(value)
    try:
        return any(kind(each) == kind(value) and _is_equal(each, value) for each in choices)
    except NoValueError:
        return False


def within_limits(value: Number, text: str) -> Number:
    """The value itself, or NoValueError where no 64-bit integer or finite float holds it."""
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NoValueError("E0505", "the result is too large for a 64-bit integer", note=text)
        return value
    if not math.isfinite(value):
        raise NoValueError("E0213", "the result is not a finite number", note=text)
    return value


def call_function(name: str, arguments: Sequence[Value]) -> Value:
    """The value of one of FUNCTIONS; NoValueError where the arguments do not fit."""
    function = FUNCTIONS[name]
    if len(arguments) < function.least or (function.most and len(arguments) > function.most):
        message = f"`{name}` takes {function.usage}, not {len(arguments) or 'none'}"
        raise NoValueError("E0205" if arguments else "E0204", message)
    for position, value in enumerate(arguments):
        fits = isinstance(value, tuple) if function.of_list else is_number(value)
        if not fits:
            message = f"`{name}` takes {function.usage}, not {kind(value)}"
            raise NoValueError("E0206", message, position, note=f"it is {show(value)}")
    text = f"{name}({', '.join(map(show, arguments))})"
    try:
        return within_limits(function.evaluate(*arguments), text)
    except ValueError:
        raise NoValueError("E0213", "this has no real result", note=text) from None
    except OverflowError:
        raise NoValueError("E0505", "the result is too large", note=text) from None


@record
class Function:
    """A function on numbers: how many it takes (most 0: any number), in words, and its value."""

    usage: str
    least: int
    most: int
    evaluate: Callable[..., Number]
    of_list: bool = False


FUNCTIONS: Mapping[str, Function] = {
    "min": Function("two numbers or more", 2, 0, min),
    "max": Function("two numbers or more", 2, 0, max),
    "abs": Function("one number", 1, 1, abs),
    "ceil": Function("one number", 1, 1, math.ceil),
    "floor": Function("one number", 1, 1, math.floor),
    "round": Function("one number", 1, 1, round),
    "sqrt": Function("one number", 1, 1, math.sqrt),
    "exp": Function("one number", 1, 1, math.exp),
    "log": Function("one number", 1, 1, math.log),
    "pow": Function("two numbers", 2, 2, lambda a, b: _power(a, b)),
    "len": Function("one list", 1, 1, len, of_list=True),
}
"""What a call on plain numbers may mean; a call with a tensor is always an operator or block."""


def _numbers(symbol: str, *values: Value) -> list[Number]:
    numbers: list[Number] = []
    for position, value in enumerate(values):
        if not isinstance(value, int | float) or isinstance(value, bool):
            message = f"`{symbol}` needs numbers, not {kind(value)}"
            raise NoValueError("E0206", message, position, note=f"it is {show(value)}")
        numbers.append(value)
    return numbers


def _divide(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    return a / b


_BINARY: Mapping[str, Callable[[Number, Number], Number]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "//": operator.floordiv,
    "%": operator.mod,
}
_ORDER: Mapping[str, Callable[[Number, Number], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _power(base: Number, exponent: Number) -> Number:
    text = f"{show(base)} ^ {show(exponent)}"
    if base == 0 and exponent < 0:
        raise NoValueError("E0213", "division by zero", note=text)
    exact = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
    # Checked before it is computed: 9 ^ 999999999 would take all memory.
    if exact and abs(base) > 1 and exponent * math.log2(abs(base)) > 64:
        raise NoValueError("E0505", "the result is too large for a 64-bit integer", note=text)
    try:
        result = base**exponent if exact else float(base) ** float(exponent)
    except OverflowError:
        raise NoValueError("E0505", "the result is too large", note=text) from None
    if isinstance(result, complex):
        raise NoValueError("E0213", "this has no real result", note=text)
    number: Number = result
    return within_limits(number, text)


def _is_equal(left: Value, right: Value) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_is_equal, left, right))
    if is_number(left) and is_number(right):
        return left == right
    for kinds in (bool, str):
        if isinstance(left, kinds) and isinstance(right, kinds):
            return left == right
    named = [getattr(each, "name", None) for each in (left, right)]
    if kind(left) == kind(right) == "a name":
        return named[0] == named[1]
    message = f"{kind(left)} and {kind(right)} cannot be equal"
    raise NoValueError("E0206", message, note=f"they are {show(left)} and {show(right)}")
