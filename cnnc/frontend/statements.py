"""Bindings and assertions: what runs for its effect on the scope, or only to be true."""

from cnnc.base.errors import InternalError
from cnnc.frontend import ast
from cnnc.frontend.context import Context, Evaluates
from cnnc.frontend.expression import truth, unknown_name
from cnnc.frontend.scope import join
from cnnc.frontend.state import BuildState
from cnnc.frontend.values import UNKNOWN, Value, Word, holds_unknown, kind, show

DISCARD = "_"
"""Where a list is taken apart, the name for what nobody needs."""


def run_statement(ev: Evaluates, statement: ast.Binding | ast.Assertion, context: Context) -> None:
    """One statement of a body or net."""
    match statement:
        case ast.Binding():
            _bind(ev, statement, context)
        case ast.Assertion():
            _assert(ev, statement, context)
        case _:
            raise InternalError(f"{type(statement).__name__} is no statement", stage="build")


def bind_name(ev: Evaluates, name: ast.Name, value: Value, context: Context) -> None:
    """Bind a name that is not in sight yet: nothing hides what the reader has seen above."""
    if context.scope.find(name.text) is not None:
        place = context.scope.place(name.text)
        note = f"the first time at line {place.line}, column {place.column}" if place else None
        ev.state.error(
            "E0207",
            f"`{name.text}` is defined twice",
            name.span,
            notes=[note or "every file has it: it is the batch"],
            help="a name keeps its value; choose another for this one",
        )
        return
    context.scope.bind(name.text, value, name.span)


def flow_named(ev: Evaluates, name: ast.Name, value: ast.Expression, context: Context) -> Value:
    """The value of a pipeline that `name` names, and with it the weights inside."""
    path = join(context.path.owner, name.text)
    if context.scope.find(name.text) is None:
        claim_path(ev.state, path, name)
    return ev.flow(value, context.at(context.path.named(path)))


def claim_path(state: BuildState, path: str, name: ast.Name) -> None:
    """Take the path for a label or binding, or report that it is taken."""
    if not state.paths.claim(path):
        state.error(
            "E0207",
            f"two instances would be called `{path}`",
            name.span,
            "the second one",
            help="labels and bindings name the weights: choose another",
        )


def _bind(ev: Evaluates, it: ast.Binding, context: Context) -> None:
    if len(it.names) == 1:
        (name,) = it.names
        bind_name(
            ev, name, _value_of(ev, flow_named(ev, name, it.value, context), context), context
        )
        return
    value = _value_of(ev, ev.flow(it.value, context.unnamed()), context)
    items: tuple[Value, ...]
    if isinstance(value, tuple) and len(value) == len(it.names):
        items = value
    else:
        items = (UNKNOWN,) * len(it.names)
        if isinstance(value, tuple):
            message = f"a list of {len(value)} for {len(it.names)} names"
            ev.state.error("E0206", message, it.value.span, notes=[f"it is {show(value)}"])
        elif not holds_unknown(value):
            message = f"{kind(value)} for {len(it.names)} names"
            ev.state.error("E0206", message, it.value.span, "expected a list")
    for name, item in zip(it.names, items, strict=True):
        if name.text != DISCARD:
            bind_name(ev, name, item, context)


def _value_of(ev: Evaluates, value: Value, context: Context) -> Value:
    return unknown_name(ev, value, context) if isinstance(value, Word) else value


def _assert(ev: Evaluates, it: ast.Assertion, context: Context) -> None:
    if truth(ev, it.condition, context) is not False:
        return
    notes = []
    if isinstance(it.condition, ast.Comparison):
        for part in (it.condition.first, *(operand for _, operand in it.condition.rest)):
            if not isinstance(part, ast.Number | ast.Truth | ast.Text):
                notes.append(f"`{part.span.excerpt}` is {show(ev.value(part, context))}")
    message = it.message.value if it.message is not None else "this does not hold"
    ev.state.error("E0304", message, it.condition.span, "is false", notes=notes)
