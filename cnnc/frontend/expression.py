"""Names, arithmetic, comparisons, members and lists → values, on numbers and on tensors."""

from collections.abc import Mapping, Sequence

from cnnc.base.errors import did_you_mean
from cnnc.base.source import Span
from cnnc.frontend import ast
from cnnc.frontend.arithmetic import NoValueError, call_function, compare, compute, negate
from cnnc.frontend.context import Context, Evaluates
from cnnc.frontend.operators import Application, Operand, apply_operator
from cnnc.frontend.values import (
    UNKNOWN,
    Given,
    Range,
    Unknown,
    Value,
    Word,
    holds_tensor,
    holds_unknown,
    is_number,
    kind,
    show,
)
from cnnc.ir.graph import Node
from cnnc.ops.spec import Operator, find, find_operator

_OPERATORS: Mapping[str, str] = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow",
}  # fmt: skip
"""Infix signs on tensors are these operators."""

_EXTENTS: Mapping[str, tuple[int, int]] = {
    "length": (3, 2),
    "height": (4, 2),
    "width": (4, 3),
}
"""Members of tensors that exist for one rank only: (rank, axis)."""

_FOREIGN: Mapping[str, str] = {
    "True": "did you mean `true`?",
    "False": "did you mean `false`?",
    "None": "there is no empty value; write `false`, or leave the argument out",
}
"""Values as other languages write them; no operator or choice is called so."""

_BATCH_NAMES = ("B", "b", "BS", "bs", "BATCH", "Batch", "batch", "batch_size")

_MEMBERS = ("shape", "rank", "batch", "channels", "spatial", "size", *_EXTENTS)


Plain = (
    ast.Number
    | ast.Text
    | ast.Truth
    | ast.Here
    | ast.Reference
    | ast.Sequence
    | ast.Not
    | ast.Sign
    | ast.Logic
    | ast.Arithmetic
    | ast.Comparison
    | ast.Range
    | ast.Member
    | ast.Index
)


def evaluate(ev: Evaluates, it: Plain, context: Context) -> Value:
    """The value of anything that is neither a call nor a stage."""
    match it:
        case ast.Number() | ast.Text() | ast.Truth():
            return it.value
        case ast.Here():
            return here(ev, it, context)
        case ast.Reference():
            return find_name(ev, it.name, context)
        case ast.Sequence():
            items = tuple(ev.value(item, context) for item in it.items)
            ev.state.hold(items, it.span)
            return items
        case ast.Sign():
            return sign(ev, it, context)
        case ast.Arithmetic():
            return arithmetic(ev, it, context)
        case ast.Range():
            return range_of(ev, it, context)
        case ast.Member():
            return member(ev, it, context)
        case ast.Index():
            return index(ev, it, context)
    return condition(ev, it, context)


def condition(ev: Evaluates, it: ast.Not | ast.Logic | ast.Comparison, context: Context) -> Value:
    """What gives true or false."""
    match it:
        case ast.Logic():
            return logic(ev, it, context)
        case ast.Comparison():
            return comparison(ev, it, context)
    holds = truth(ev, it.operand, context)
    return UNKNOWN if isinstance(holds, Unknown) else not holds


def find_name(ev: Evaluates, name: ast.Name, context: Context) -> Value:
    """The value bound to a name; a word if none is; reports use before definition."""
    found = context.scope.find(name.text)
    if found is not None:
        return found
    later = context.scope.find_later(name.text)
    if later is not None:
        return ev.state.error(
            "E0208",
            f"`{name.text}` is used before its definition",
            name.span,
            notes=[f"it is defined at line {later.line}, column {later.column}"],
            help="statements run from top to bottom, and nothing may depend on itself",
        )
    if name.text in _FOREIGN and ev.state.find_block(name.text, name.span) is None:
        message, help = f"`{name.text}` is not defined", _FOREIGN[name.text]
        return ev.state.error("E0201", message, name.span, help=help)
    return Word(name.text, name.span)


def here(ev: Evaluates, expression: ast.Here, context: Context) -> Value:
    """What flows in."""
    if context.here is not None:
        return context.here
    return ev.state.error(
        "E0212",
        "nothing flows in here, so `in` means nothing",
        expression.span,
        help="name a tensor instead; `in` exists inside blocks, branches and stages",
    )


def sign(ev: Evaluates, it: ast.Sign, context: Context) -> Value:
    """`-a`, `+a`."""
    value = _operand(ev, it.operand, context)
    if isinstance(value, Unknown):
        return UNKNOWN
    if holds_tensor(value):
        if it.sign.text == "+" and isinstance(value, Node):
            return value
        operands = (Operand(value, it.operand.span),)
        return _apply_sign(ev, find_operator("neg"), it.sign, operands, it.span, context)
    try:
        return negate(value) if it.sign.text == "-" else compute("+", 0, value)
    except NoValueError as error:
        return report_no_value(ev, error, it.span, [it.span, it.operand.span])


def arithmetic(ev: Evaluates, it: ast.Arithmetic, context: Context) -> Value:
    """A chain of one precedence, from left to right."""
    total, place = _operand(ev, it.first, context), it.first.span
    for symbol, expression in it.rest:
        right = _operand(ev, expression, context)
        span = place.to(expression.span)
        if isinstance(total, Unknown) or isinstance(right, Unknown):
            total = UNKNOWN
        elif holds_tensor(total) or holds_tensor(right):
            operands = (Operand(total, place), Operand(right, expression.span))
            operator = find_operator(_OPERATORS.get(symbol.text, ""))
            total = _apply_sign(ev, operator, symbol, operands, span, context)
        else:
            try:
                total = compute(symbol.text, total, right)
            except NoValueError as error:
                total = report_no_value(ev, error, span, [place, expression.span])
        place = span
    return total


def range_of(ev: Evaluates, it: ast.Range, context: Context) -> Value:
    """`low..high`: two numbers, the first not above the second."""
    low, high = _operand(ev, it.low, context), _operand(ev, it.high, context)
    if isinstance(low, Unknown) or isinstance(high, Unknown):
        return UNKNOWN
    for value, part in ((low, it.low), (high, it.high)):
        if not is_number(value):
            message = f"a range goes from number to number, not {kind(value)}"
            return ev.state.error("E0206", message, part.span, notes=[f"it is {show(value)}"])
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low > high:
        message = f"the range {show(low)}..{show(high)} is empty"
        return ev.state.error("E0206", message, it.span, help="write the smaller number first")
    return Range(low, high)


def comparison(ev: Evaluates, it: ast.Comparison, context: Context) -> Value:
    """Every neighbouring pair must hold."""
    left, place = ev.value(it.first, context), it.first.span
    holds: Value = True
    for symbol, expression in it.rest:
        right = ev.value(expression, context)
        if holds_unknown(left) or holds_unknown(right):
            return UNKNOWN
        try:
            holds = holds and compare(symbol.text, left, right)
        except NoValueError as error:
            places = [place, expression.span]
            return report_no_value(ev, error, it.span, places, (left, right), context)
        left, place = right, expression.span
    return holds


def logic(ev: Evaluates, it: ast.Logic, context: Context) -> Value:
    """`and`, `or`: from left to right, only as far as needed."""
    decisive = it.word == "or"
    for term in it.terms:
        value = truth(ev, term, context)
        if isinstance(value, Unknown):
            return UNKNOWN
        if value is decisive:
            return decisive
    return not decisive


def truth(ev: Evaluates, expression: ast.Expression, context: Context) -> bool | Unknown:
    """A condition: true or false, nothing else counts as either."""
    value = ev.value(expression, context)
    if isinstance(value, bool | Unknown):
        return value
    if isinstance(value, Word):
        return unknown_name(ev, value, context)
    message = f"a condition is true or false, not {kind(value)}"
    note = f"it is {show(value)}"
    return ev.state.error("E0206", message, expression.span, notes=[note])


def member(ev: Evaluates, it: ast.Member, context: Context) -> Value:
    """`tensor.shape` and the like."""
    owner = _operand(ev, it.owner, context)
    if isinstance(owner, Unknown):
        return UNKNOWN
    name = it.name.text
    if not isinstance(owner, Node):
        message = f"only tensors have members, {kind(owner)} has none"
        first = f"`{it.owner.span.excerpt}[0].{name}` is that of its first item"
        help = first if isinstance(owner, tuple) and holds_tensor(owner) else None
        notes = [f"it is {show(owner)}"]
        return ev.state.error("E0203", message, it.owner.span, notes=notes, help=help)
    type = owner.type
    if name in _EXTENTS:
        rank, axis = _EXTENTS[name]
        if type.rank == rank:
            return type.shape[axis]
        shape = f"`{it.owner.span.excerpt}` has shape {show(type.shape)}"
        message = f"`{name}` exists for tensors of rank {rank} only"
        return ev.state.error("E0203", message, it.name.span, notes=[shape])
    members: Mapping[str, Value] = {
        "shape": type.shape,
        "rank": type.rank,
        "batch": type.shape[0],
        "channels": type.shape[1] if type.rank > 1 else 1,
        "spatial": type.spatial,
        "size": type.elements,
    }
    if name in members:
        return members[name]
    help = did_you_mean(name, _MEMBERS) or f"a tensor has {', '.join(_MEMBERS)}"
    return ev.state.error("E0203", f"a tensor has no member `{name}`", it.name.span, help=help)


def index(ev: Evaluates, it: ast.Index, context: Context) -> Value:
    """`list[i]`, counted from 0; negative from the end."""
    owner, position = _operand(ev, it.owner, context), _operand(ev, it.position, context)
    if isinstance(owner, Unknown) or isinstance(position, Unknown):
        return UNKNOWN
    if not isinstance(owner, tuple):
        message = f"only lists have elements, {kind(owner)} has none"
        help = None
        channels = owner.type.channels if isinstance(owner, Node) and owner.type.rank > 1 else 0
        if type(position) is int and 0 <= position < channels:
            help = f"`-> slice(1, {position}, {position + 1})` takes channel {position}"
        return ev.state.error("E0206", message, it.owner.span, help=help)
    if not isinstance(position, int) or isinstance(position, bool):
        message = f"a position is an integer, not {show(position)}"
        return ev.state.error("E0206", message, it.position.span)
    if not -len(owner) <= position < len(owner):
        message = f"a list of {len(owner)} has no element {position}"
        return ev.state.error("E0206", message, it.position.span, notes=[f"it is {show(owner)}"])
    return owner[position]


def function(ev: Evaluates, it: ast.Call, given: Sequence[Given]) -> Value:
    """A call on numbers."""
    for each in given:
        if each.name is not None:
            message = f"`{it.name.text}` takes no named arguments"
            return ev.state.error("E0203", message, each.name.span)
    values = [each.value for each in given]
    if any(map(holds_unknown, values)):
        return UNKNOWN
    try:
        return call_function(it.name.text, values)
    except NoValueError as error:
        spans = [each.span for each in given]
        return report_no_value(ev, error, it.span, spans)


def unknown_name(ev: Evaluates, word: Word, context: Context) -> Unknown:
    """Report a word that had to be a value."""
    if find(word.name) is not None or ev.state.find_block(word.name, word.span) is not None:
        message = f"`{word.name}` is a stage, not a value"
        help = f"feed it a tensor: `(in -> {word.name})`"
        return ev.state.error("E0206", message, word.span, help=help)
    help_text = did_you_mean(word.name, context.scope.names())
    if word.name in _BATCH_NAMES:
        help_text = help_text or "the batch is called `N`"
    return ev.state.error("E0201", f"`{word.name}` is not defined", word.span, help=help_text)


def report_no_value(
    ev: Evaluates,
    error: NoValueError,
    span: Span,
    operands: list[Span],
    values: tuple[Value, ...] = (),
    context: Context | None = None,
) -> Unknown:
    """Turn arithmetic without a result into a diagnostic at the operand to blame.

    A comparison between a word and something else is more likely a mistyped name.
    """
    words = [value for value in values if isinstance(value, Word)]
    if words and context is not None:
        return unknown_name(ev, words[0], context)
    place = span if error.operand is None else operands[error.operand]
    return ev.state.error(error.code, error.message, place, notes=[error.note], help=error.help)


def _operand(ev: Evaluates, expression: ast.Expression, context: Context) -> Value:
    value = ev.value(expression, context)
    if isinstance(value, Word):
        return unknown_name(ev, value, context)
    return UNKNOWN if holds_unknown(value) else value


def _apply_sign(
    ev: Evaluates,
    operator: type[Operator] | None,
    sign: ast.Name,
    operands: tuple[Operand, ...],
    span: Span,
    context: Context,
) -> Value:
    """Apply what a sign stands for; None if it stands for nothing on tensors."""
    if operator is None:
        message = f"`{sign.text}` does not work on tensors"
        help = f"between tensors there are {', '.join(_OPERATORS)}"
        return ev.state.error("E0206", message, sign.span, help=help)
    for each in operands:
        if isinstance(each.value, tuple):
            message = f"`{sign.text}` takes tensors and numbers, not a list"
            help = f"choose an item, or let the list flow: `list -> {operator.name}`"
            help = "choose an item: `list[0]`" if operator.arity[1] == 1 else help
            return ev.state.error("E0206", message, each.span, help=help)
    scope, path = context.scope, context.path.unnamed()
    return apply_operator(
        ev.state, Application(operator, sign.span, span, operands, (), scope, path)
    )
