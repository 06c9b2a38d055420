"""`cnnc ops`: the operators of the language, from their classes."""

import inspect
from textwrap import wrap

import click

from cnnc.base.errors import did_you_mean, fail
from cnnc.base.report import Json
from cnnc.cli.console import print_json, say
from cnnc.cli.options import json_option
from cnnc.ops.attributes import Value, format_value
from cnnc.ops.spec import Attribute, Named, find, operators
from cnnc.table import Column, format_table

VALUES = 64
"""Characters of a line of values, so that a table fits a terminal."""


@click.command(short_help="The operators of the language.")
@click.argument("name", required=False)
@json_option
def ops(name: str | None, as_json: bool) -> None:
    """List the operators, or describe one with its attributes."""
    if name is None:
        chosen = list(operators())
    else:
        found = find(name)
        if found is None:
            known = [each.name for each in operators()]
            help = did_you_mean(name, known) or "`cnnc ops` lists them all"
            raise fail("E0202", f"no operator is called `{name}`", help=help)
        chosen = [found]
    if as_json:
        print_json([_as_json(each) for each in chosen])
    elif name is None:
        say(_table(chosen))
    else:
        say(_describe(chosen[0]))


def _table(chosen: list[type[Named]]) -> str:
    columns = [Column("operator"), Column("operands"), Column("what it does, attributes")]
    rows = []
    for each in chosen:
        rows.append([each.name, _arity(each), _summary(each)])
        names = ", ".join(attribute.name for attribute in each.attributes())
        if names:
            rows.append(["", "", f"  {names}"])
    return format_table(columns, rows)


def _describe(op: type[Named]) -> str:
    lines = [f"{op.name}, {_arity(op)} operand{'s' if op.arity != (1, 1) else ''}", ""]
    lines.append(inspect.getdoc(op) or "")
    attributes = op.attributes()
    if attributes:
        columns = [Column(title) for title in ("attribute", "default", "meaning, values")]
        rows = []
        for each in attributes:
            rows.append([each.name, "" if each.required else _default(each), each.doc])
            rows += [["", "", f"  {line}"] for line in wrap(each.kind.describe(), VALUES)]
        lines += ["", format_table(columns, rows)]
    return "\n".join(lines)


def _summary(op: type[Named]) -> str:
    return (inspect.getdoc(op) or "").split("\n")[0]


def _arity(op: type[Named]) -> str:
    least, most = op.arity
    if most is None:
        return f"{least} or more"
    return str(least) if least == most else f"{least} to {most}"


def _default(attribute: Attribute) -> str:
    return "" if attribute.required else format_value(_default_value(attribute))


def _default_value(attribute: Attribute) -> Value:
    return attribute.kind.unparse(attribute.default)


def _as_json(op: type[Named]) -> Json:
    least, most = op.arity
    attributes: list[Json] = [
        {
            "name": each.name,
            "value": each.kind.describe(),
            "required": each.required,
            "default": None if each.required else _default(each),
            "doc": each.doc,
        }
        for each in op.attributes()
    ]
    return {
        "name": op.name,
        "least_operands": least,
        "most_operands": most,
        "doc": inspect.getdoc(op) or "",
        "attributes": attributes,
    }
