"""The file's params: their defaults, and what `--set` and `--batch` put in their place."""

from collections.abc import Mapping
from dataclasses import dataclass

from cnnc.base.errors import Diagnostic, UserError, did_you_mean
from cnnc.base.source import SourceFile, Span
from cnnc.frontend import ast
from cnnc.frontend.arithmetic import is_one_of
from cnnc.frontend.context import Context, Evaluates
from cnnc.frontend.modules import Modules
from cnnc.frontend.parse import parse_expression
from cnnc.frontend.scope import Path, Scope
from cnnc.frontend.statements import bind_name
from cnnc.frontend.values import UNKNOWN, Range, Unknown, Value, holds_unknown, kind, show

BATCH = "N"
"""The name every file may use for the batch: 1, unless set or declared as a param."""

Setting = str | int | float | bool
"""A value for a param from outside; text is read as an expression of the language."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A setting as an expression."""

    name: str
    expression: ast.Expression


def parse_settings(
    program: ast.Program, settings: Mapping[str, Setting], batch: int | None
) -> Mapping[str, ast.Expression]:
    """The settings as expressions; UserError for unknown names and malformed values."""
    given: dict[str, Setting] = dict(settings)
    problems: list[Diagnostic] = []
    if batch is not None:
        if BATCH in given:
            message = f"the batch is given twice, as {batch} and as `{BATCH}`"
            problems.append(Diagnostic("E0210", message))
        given[BATCH] = batch
    known = [param.name.text for param in program.params] + [BATCH]
    parsed: dict[str, ast.Expression] = {}
    for name, value in given.items():
        if name not in known:
            message = f"the file has no param `{name}`"
            help = did_you_mean(name, known) or f"it has {', '.join(sorted(known))}"
            problems.append(Diagnostic("E0210", message, help=help))
            continue
        text = show(value) if not isinstance(value, str | float) else str(value)
        try:
            parsed[name] = parse_expression(SourceFile(f"<{name}>", text))
        except UserError as error:
            problems += error.diagnostics
    if problems:
        raise UserError(problems)
    return parsed


def bind_params(ev: Evaluates, modules: Modules, settings: Mapping[str, ast.Expression]) -> None:
    """Bind the batch and every param, in order, so that later defaults follow earlier settings.

    Params of imported files keep their defaults, and the batch is everywhere the main file's.
    """
    main = modules.main
    if BATCH not in {param.name.text for param in main.program.params}:
        value = _evaluate(ev, settings[BATCH]) if BATCH in settings else 1
        main.scope.bind(BATCH, value, None)
    for param in main.program.params:
        _bind_param(ev, param, settings.get(param.name.text), main.scope)
    for module in modules.all.values():
        if module is not main:
            module.scope.bind(BATCH, main.scope.find(BATCH) or UNKNOWN, None)
            for param in module.program.params:
                if param.name.text != BATCH:
                    _bind_param(ev, param, None, module.scope)


def _bind_param(
    ev: Evaluates, param: ast.Param, setting: ast.Expression | None, scope: Scope
) -> None:
    context = Context(scope, Path())
    value = ev.value(param.value, context)
    if param.choices is not None:
        choices = ev.value(param.choices, context)
        value = _check_choice(ev, param, value, choices, param.value.span)
        if setting is not None:
            value = _override(ev, param, setting, value)
            value = _check_choice(ev, param, value, choices, None)
    elif setting is not None:
        value = _override(ev, param, setting, value)
    bind_name(ev, param.name, value, context)


def batch_of(ev: Evaluates, scope: Scope, program: ast.Program) -> int | Unknown:
    """The batch size, an integer of 1 or more."""
    value = scope.find(BATCH)
    if value is None or isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    place = next((p.span for p in program.params if p.name.text == BATCH), None)
    message = f"the batch `{BATCH}` is an integer ≥ 1, not {show(value)}"
    # What the batch breaks further down is no second mistake.
    scope.bind(BATCH, UNKNOWN, place)
    return ev.state.report(Diagnostic("E0206", message, place))


def _evaluate(ev: Evaluates, expression: ast.Expression) -> Value:
    """A setting sees none of the file's names."""
    return ev.value(expression, Context(Scope(), Path()))


def _check_choice(
    ev: Evaluates, param: ast.Param, value: Value, choices: Value, default: Span | None
) -> Value:
    """The value if it is one of the choices; `default` is its place, None for a setting."""
    assert param.choices is not None
    place, name = param.choices.span, param.name.text
    if holds_unknown(value) or holds_unknown(choices):
        return UNKNOWN
    if not isinstance(choices, Range | tuple):
        message = f"the values of a param are a range or a list, not {kind(choices)}"
        return ev.state.error("E0206", message, place, help="write `in 8..64` or `in [8, 16]`")
    if is_one_of(value, choices):
        return value
    if default is not None:
        message = f"the default of `{name}` is not in {show(choices)}: {show(value)}"
        return ev.state.error("E0206", message, default)
    message = f"param `{name}` cannot be set to {show(value)}"
    return ev.state.error("E0210", message, place, "its values")


def _override(ev: Evaluates, param: ast.Param, setting: ast.Expression, default: Value) -> Value:
    value = _evaluate(ev, setting)
    if holds_unknown(value) or holds_unknown(default) or kind(value) == kind(default):
        return value
    return ev.state.error(
        "E0210",
        f"param `{param.name.text}` is {kind(default)}, it cannot be set to {show(value)}",
        param.span,
        "its default",
    )
