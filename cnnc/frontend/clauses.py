"""`weights` and `check`: from the text to plain data, files not opened yet."""

from collections.abc import Mapping, Sequence

from cnnc.base.errors import did_you_mean
from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.frontend import ast
from cnnc.frontend.context import Context, Evaluates
from cnnc.frontend.expression import unknown_name
from cnnc.frontend.initial import METHODS
from cnnc.frontend.values import Value, Word, holds_unknown, is_number, show


@record
class FileWeights:
    """Weights come from a file, perhaps under other names."""

    path: ast.Text
    renames: tuple[ast.Rename, ...]
    span: Span


@record
class InitialWeights:
    """Weights are drawn by a method of `cnnc.frontend.initial`, always the same for one seed."""

    method: str
    seed: int
    span: Span


@record
class Check:
    """Arrays of inputs and expected outputs in a file, and how far results may be off."""

    path: ast.Text
    atol: float
    rtol: float
    span: Span


def read_weights(
    ev: Evaluates, clause: ast.WeightsFile | ast.WeightsInitial, context: Context
) -> FileWeights | InitialWeights | None:
    """The clause as data, None after reporting what is wrong with it."""
    if isinstance(clause, ast.WeightsFile):
        return FileWeights(clause.path, clause.renames, clause.span)
    method = clause.name.text
    if method not in METHODS:
        message = f"weights cannot be initialised by `{method}`"
        help = did_you_mean(method, METHODS) or f"methods are {', '.join(METHODS)}"
        ev.state.error("E0202", message, clause.name.span, help=help)
        return None
    values = _read_numbers(ev, method, clause.arguments, {"seed": 0}, context)
    if values is None:
        return None
    seed = values["seed"]
    if not isinstance(seed, int):
        ev.state.error("E0206", f"`seed` is an integer, not {show(seed)}", clause.span)
        return None
    return InitialWeights(method, seed, clause.span)


def read_check(ev: Evaluates, clause: ast.Check, context: Context) -> Check | None:
    """The clause as data, None after reporting what is wrong with it."""
    defaults = {"atol": 1e-5, "rtol": 1e-4}
    values = _read_numbers(ev, "check", clause.arguments, defaults, context)
    if values is None:
        return None
    return Check(clause.path, float(values["atol"]), float(values["rtol"]), clause.span)


def _read_numbers(
    ev: Evaluates,
    owner: str,
    arguments: Sequence[ast.Argument],
    defaults: Mapping[str, int | float],
    context: Context,
) -> Mapping[str, int | float] | None:
    """Arguments that are numbers ≥ 0, by name or in order."""
    values = dict(defaults)
    seen: set[str] = set()
    is_good = True
    free = iter(defaults)
    for each in arguments:
        name = each.name.text if each.name is not None else next(free, "")
        value = ev.value(each.value, context)
        if name not in defaults:
            _report_unknown(ev, owner, each, defaults)
            is_good = False
        elif name in seen:
            ev.state.error("E0205", f"`{name}` is given twice", each.span)
            is_good = False
        elif (number := _number(ev, name, each, value, context)) is None:
            is_good = False
        else:
            values[name] = number
        seen.add(name)
    return values if is_good else None


def _report_unknown(
    ev: Evaluates, owner: str, argument: ast.Argument, known: Mapping[str, int | float]
) -> None:
    takes = f"`{owner}` takes {', '.join(known)}"
    if argument.name is None:
        ev.state.error("E0205", "there is one argument too many", argument.span, notes=[takes])
        return
    name = argument.name.text
    message = f"`{owner}` has no argument `{name}`"
    help = did_you_mean(name, known)
    ev.state.error("E0203", message, argument.name.span, notes=[takes], help=help)


def _number(
    ev: Evaluates, name: str, argument: ast.Argument, value: Value, context: Context
) -> int | float | None:
    if holds_unknown(value):
        return None
    if isinstance(value, Word):
        unknown_name(ev, value, context)
        return None
    if isinstance(value, int | float) and is_number(value) and value >= 0:
        return value
    message = f"`{name}` is a number ≥ 0, not {show(value)}"
    ev.state.error("E0206", message, argument.value.span)
    return None
