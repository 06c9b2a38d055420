"""`cnnc explain`: what a code means, with an example."""

from collections.abc import Iterator
from textwrap import fill, indent

import click

from cnnc.base.errors import CODES, did_you_mean, fail
from cnnc.base.report import Json
from cnnc.cli.console import print_json, say
from cnnc.cli.explanations import PROGRAM, Block, Explanation, explanations
from cnnc.cli.options import json_option
from cnnc.table import Column, format_table

WIDTH = 100


@click.command(short_help="What an error's code means, with an example.")
@click.argument("code", required=False)
@json_option
def explain(code: str | None, as_json: bool) -> None:
    """Explain the code of an error or warning, or list all codes."""
    known = explanations()
    chosen = [*CODES] if code is None else [_find(code)]
    if as_json:
        print_json([_as_json(each, known.get(each)) for each in chosen])
    elif code is None:
        say(format_table([Column("code"), Column("meaning")], [*map(list, CODES.items())]))
    else:
        say("\n".join(_lines(chosen[0], known.get(chosen[0]))))


def _find(code: str) -> str:
    written = code.strip().upper().removeprefix("ERROR").removeprefix("WARNING").strip("[]")
    if written not in CODES:
        help = did_you_mean(written, CODES) or "`cnnc explain` lists them all"
        raise fail("E0803", f"no error has the code `{code}`", help=help)
    return written


def _lines(code: str, found: Explanation | None) -> Iterator[str]:
    yield f"{code}: {CODES[code]}"
    if found is None:
        return
    for paragraph in found.prose.split("\n\n"):
        yield ""
        yield fill(" ".join(paragraph.split("\n")), WIDTH)
    before, seen_wrong = "", False
    for block in found.blocks:
        seen_wrong |= block.is_wrong
        title = _title(block, seen_wrong)
        if title != before:
            yield from ("", title)
        before = title
        yield ""
        if block.file != PROGRAM:
            yield f"    # {block.file}"
        yield indent(block.text.rstrip("\n"), "    ")


def _title(block: Block, seen_wrong: bool) -> str:
    if block.language == "text":
        return "What cnnc says:"
    if block.is_wrong:
        return "This is wrong:"
    return "This is right:" if seen_wrong else "Given this:"


def _as_json(code: str, found: Explanation | None) -> Json:
    blocks: list[Json] = [
        {"language": each.language, "wrong": each.is_wrong, "file": each.file, "text": each.text}
        for each in (found.blocks if found else ())
    ]
    prose = found.prose if found else ""
    return {"code": code, "title": CODES[code], "explanation": prose, "example": blocks}
