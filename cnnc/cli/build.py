"""`cnnc build`: output that stands alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from cnnc.base.errors import fail
from cnnc.base.report import Json
from cnnc.cli.console import print_json, say, working
from cnnc.cli.options import (
    Net,
    PathType,
    exact_option,
    json_option,
    limit_options,
    net_options,
    target_option,
    threads_option,
    tuning_option,
)
from cnnc.files import check_folder
from cnnc.frontend.settings import Batch
from cnnc.standalone.build import Built, build
from cnnc.standalone.request import BUILTIN, DEFAULT_FORMS, EXTERNAL, FORMS, Limits, Request
from cnnc.table import Column, bytes_text, format_table

SUFFIXES = (".h", ".c", ".ll", ".s", ".o", ".a", ".so", ".py", ".cu", ".weights")
"""Of files that are written, which no folder for them should have."""


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """What is to be built, as `request`: --emit, --target, limits and what else both verbs take."""

    @wraps(command)
    def call(
        *,
        emit: tuple[str, ...],
        ram: int | None,
        flash: int | None,
        stack: int | None,
        force: bool,
        name: str | None,
        weights: str,
        cc: str | None,
        target: str,
        threads: int,
        exact: bool,
        **others: Any,
    ) -> None:
        request = Request(
            forms=_parse_forms(emit),
            target=target,
            name=name,
            threads=threads,
            weights=weights,
            exact=exact,
            cc=cc,
            force=force,
            limits=Limits(ram, flash, stack),
        )
        command(request=request, **others)

    return _options(call)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        exact_option,
        threads_option,
        target_option,
        limit_options,
        click.option("--cc", metavar="COMMAND", help="What links shared libraries; else $CC."),
        click.option(
            "--weights",
            type=click.Choice([BUILTIN, EXTERNAL]),
            default=BUILTIN,
            show_default=True,
            help="Part of the code, or in a file that the program loads.",
        ),
        click.option("--name", metavar="NAME", help="What files and symbols begin with."),
        click.option(
            "--force", is_flag=True, help="Replace files that were edited, or are not of cnnc."
        ),
        click.option(
            "--emit",
            multiple=True,
            default=DEFAULT_FORMS,
            show_default=True,
            metavar="FORM,…",
            help=f"Forms of output: {', '.join(FORMS)}.",
        ),
    ):
        command = decorate(command)
    return command


@click.command("build", short_help="Write C source, objects, libraries or a project.")
@net_options
@click.option(
    "-o",
    "--output",
    type=PathType(),
    help="The folder to write into; one of the net's name if left out.",
)
@request_options
@tuning_option
@json_option
def build_(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    output: Path | None,
    request: Request,
    tuning: Path | None,
    as_json: bool,
) -> None:
    """Build a network that stands alone: no runtime, no heap, one header for all forms."""
    request = replace(request, tuning=tuning)
    if output:
        check_folder(output, *SUFFIXES)
    model = Net(file, net, settings, batch).load()
    with working(f"building {model.name}"):
        built = build(model, output or Path(request.name or model.name), request)
    show_built(built, as_json=as_json)


def _parse_forms(texts: Sequence[str]) -> tuple[str, ...]:
    """`c,h` as its parts, each once."""
    parts = [part.strip() for text in texts for part in text.split(",")]
    forms = tuple(dict.fromkeys(part for part in parts if part))
    if not forms:
        raise fail("E0803", "`--emit` names no form of output", help=f"some of {', '.join(FORMS)}")
    return forms


def show_built(built: Built, *, as_json: bool) -> None:
    """What was written, and what the network takes."""
    if as_json:
        files: dict[str, Json] = dict(built.files)
        print_json(
            {
                "ok": True,
                "folder": str(built.folder),
                "name": built.name,
                "files": files,
                "sizes": built.sizes.to_json() if built.sizes else None,
            }
        )
        return
    columns = (Column("file"), Column("bytes", is_number=True))
    rows = [(str(built.folder / name), bytes_text(size)) for name, size in built.files.items()]
    say(format_table(columns, rows))
    if built.sizes:
        say(built.sizes.describe())
