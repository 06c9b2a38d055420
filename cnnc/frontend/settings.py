"""The file's params: their defaults, and what `--set` and `--batch` put in their place."""

from collections.abc import Mapping

from cnnc.base.errors import Diagnostic, UserError, did_you_mean
from cnnc.base.record import record
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


Batch = int | tuple[int, int]
"""Samples of one run: so many, or any number from the first to the second."""


@record
class Parsed:
    """A setting as an expression."""

    name: str
    expression: ast.Expression


def parse_settings(
    program: ast.Program, settings: Mapping[str, Setting], batch: Batch | None
) -> Mapping[str, ast.Expression]:
    """The settings as expressions; UserError for unknown names and malformed values."""
    given: dict[str, Setting] = dict(settings)
    problems: list[Diagnostic] = []
    if isinstance(batch, tuple) and len([*batch]) != 2:
        message = f"the batch is a number or a range of two, such as (1, 32), not {batch}"
        problems.append(Diagnostic("E0206", message))
    elif batch is not None:
        if BATCH in given:
            message = f"the batch is given twice, as {batch} and as `{BATCH}`"
            problems.append(Diagnostic("E0210", message))
        given[BATCH] = "..".join(map(str, batch)) if isinstance(batch, tuple) else batch
    known = sorted({param.name.text for param in program.params} | {BATCH})
    parsed: dict[str, ast.Expression] = {}
    for name, value in given.items():
        if name not in known:
            message = f"the file has no param `{name}`"
            help = did_you_mean(name, known) or f"it has {', '.join(known)}"
            problems.append(Diagnostic("E0210", message, help=help))
            continue
        text = show(value) if not isinstance(value, str | float) else str(value)
        try:
            parsed[name] = parse_expression(SourceFile(f"<value given for {name}>", text))
        except UserError as error:
            problems += error.diagnostics
    if problems:
        raise UserError(problems)
    return parsed


def bind_params(
    ev: Evaluates, modules: Modules, settings: Mapping[str, ast.Expression]
) -> Range | Unknown:
    """Bind every param in order, so that later defaults follow earlier settings; give the batch.

    Where the batch is a range, its name stands for the most samples. Params of imported files keep
    their defaults, and the batch is everywhere the main file's.
    """
    main = modules.main
    samples: Range | Unknown = Range(1, 1)
    if BATCH not in {param.name.text for param in main.program.params}:
        if BATCH in settings:
            samples = _samples(ev, _evaluate(ev, settings[BATCH]), None)
        main.scope.bind(BATCH, _most(samples), None)
    for param in main.program.params:
        value = _value_of(ev, param, settings.get(param.name.text), main.scope)
        if param.name.text == BATCH:
            samples = _samples(ev, value, param.span)
            value = _most(samples)
        bind_name(ev, param.name, value, Context(main.scope, Path()))
    for module in modules.all.values():
        if module is not main:
            module.scope.bind(BATCH, _most(samples), None)
            for param in module.program.params:
                if param.name.text != BATCH:
                    value = _value_of(ev, param, None, module.scope)
                    bind_name(ev, param.name, value, Context(module.scope, Path()))
    return samples


def _most(samples: Range | Unknown) -> Value:
    return UNKNOWN if isinstance(samples, Unknown) else samples.high


def _samples(ev: Evaluates, value: Value, place: Span | None) -> Range | Unknown:
    """How many samples a run takes: integers of 1 or more."""
    if holds_unknown(value):
        return UNKNOWN
    if isinstance(value, Range) and value.is_whole and value.low >= 1:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return Range(value, value)
    message = f"the batch `{BATCH}` is an integer ≥ 1 or a range of them, not {show(value)}"
    return ev.state.report(Diagnostic("E0206", message, place))


def _value_of(
    ev: Evaluates, param: ast.Param, setting: ast.Expression | None, scope: Scope
) -> Value:
    """The value of a param: its default or what it is set to, if that is allowed."""
    value = ev.value(param.value, Context(scope, Path()))
    if isinstance(value, Range) and param.name.text != BATCH:
        message = f"only the batch `{BATCH}` may be a range; a param has one value"
        help = f"write `param {param.name.text} = {show(value.low)} in {show(value)}`"
        value = ev.state.error("E0206", message, param.value.span, help=help)
    if param.choices is None:
        return value if setting is None else _override(ev, param, setting, value)
    choices = ev.value(param.choices, Context(scope, Path()))
    value = _check_choice(ev, param, value, choices, param.value.span)
    if setting is None:
        return value
    value = _override(ev, param, setting, value)
    return _check_choice(ev, param, value, choices, None)


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
    message = f"param `{name}` cannot be set to {show(value)}, which is not in {show(choices)}"
    return ev.state.error("E0210", message, place, "its values")


def _override(ev: Evaluates, param: ast.Param, setting: ast.Expression, default: Value) -> Value:
    value = _evaluate(ev, setting)
    kinds = {kind(value), kind(default)}
    fits = len(kinds) == 1 or (param.name.text == BATCH and kinds == {"a number", "a range"})
    if holds_unknown(value) or holds_unknown(default) or fits:
        return value
    is_now = f"is {kind(default)}, {show(default)}"
    message = f"param `{param.name.text}` {is_now}: it cannot be set to {show(value)}"
    return ev.state.error("E0210", message, param.span, "its default")
