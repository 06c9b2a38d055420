"""`cnnc ops`: the operators of the language, from their classes."""

from textwrap import wrap

import click

from cnnc.base.errors import did_you_mean, fail
from cnnc.base.report import Json
from cnnc.cli.console import print_json, say
from cnnc.cli.ops_markdown import example_text, reference
from cnnc.cli.options import json_option
from cnnc.frontend.foreign import familiar_stage
from cnnc.ops.describe import OperatorInfo, describe, operators_by_field
from cnnc.ops.spec import find, operators
from cnnc.table import Column, format_table

WIDTH = 100
VALUES = 64
"""Characters of a line of values, so that a table fits a terminal."""


@click.command(short_help="The operators of the language.")
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print the reference of docs/language.md.")
@json_option
def ops(name: str | None, markdown: bool, as_json: bool) -> None:
    """List the operators by field, or describe one with its attributes."""
    groups = operators_by_field() if name is None else {"": [_find(name)]}
    if as_json:
        print_json([_as_json(each) for group in groups.values() for each in group])
    elif markdown:
        say(reference(groups).rstrip())
    elif name is None:
        say(_table(groups))
    else:
        say(_in_full(groups[""][0]))


def _find(name: str) -> OperatorInfo:
    found = find(name)
    if found is None:
        known = [each.name for each in operators()]
        help = familiar_stage(name) or did_you_mean(name, known) or "`cnnc ops` lists them all"
        raise fail("E0202", f"no operator is called `{name}`", help=help)
    return describe(found)


def _table(groups: dict[str, list[OperatorInfo]]) -> str:
    columns = [Column("operator"), Column("operands"), Column("what it does, attributes")]
    rows: list[list[str]] = []
    headings: dict[int, str] = {}
    for field, group in groups.items():
        headings[len(rows)] = field
        for each in group:
            summary, *more = _summary(each)
            rows.append([each.name, _arity(each), summary])
            rows += [["", "", line] for line in more]
            names = ", ".join(attribute.name for attribute in each.attributes)
            rows += [["", "", f"  {names}"]] * bool(names)
    title, rule, *body = format_table(columns, rows).split("\n")
    lines = [title, rule]
    for number, line in enumerate(body):
        if number in headings:
            lines += ["", headings[number], ""] if number else [headings[number], ""]
        lines.append(line)
    return "\n".join(lines)


def _in_full(op: OperatorInfo) -> str:
    lines = [*wrap(op.signature, WIDTH, subsequent_indent="    "), "", op.doc]
    if op.attributes:
        columns = [Column(title) for title in ("attribute", "default", "meaning, values")]
        rows = []
        for each in op.attributes:
            rows.append([each.name, each.default or "", each.doc])
            rows += [["", "", f"  {line}"] for line in wrap(each.values, VALUES)]
        lines += ["", format_table(columns, rows)]
    example = f"For example, {example_text(op.example)}."
    lines += ["", *wrap(example, WIDTH), "", f"{op.field}, {op.arity}"]
    return "\n".join(lines)


def _summary(op: OperatorInfo) -> list[str]:
    """The first line of the text, and the formula on the next one if it announces that."""
    lines = op.doc.split("\n")
    return lines[: 2 if lines[0].endswith(":") else 1]


def _arity(op: OperatorInfo) -> str:
    return op.arity.removesuffix("s").removesuffix(" operand")


def _as_json(op: OperatorInfo) -> Json:
    least, most = op.operands
    attributes: list[Json] = [
        {
            "name": each.name,
            "value": each.values,
            "required": each.default is None,
            "default": each.default,
            "doc": each.doc,
        }
        for each in op.attributes
    ]
    return {
        "name": op.name,
        "field": op.field,
        "signature": op.signature,
        "least_operands": least,
        "most_operands": most,
        "doc": op.doc,
        "attributes": attributes,
        "example": {
            "call": op.example.call,
            "operands": [list(shape) for shape in op.example.operands],
            "results": [list(shape) for shape in op.example.results],
            "parameters": {name: list(shape) for name, shape in op.example.parameters},
        },
    }
