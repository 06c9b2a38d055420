"""`cnnc fmt`: the one layout of the language."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

import click

from cnnc.base.errors import Diagnostic, UserError, fail
from cnnc.base.report import Json, report, to_json
from cnnc.cli.console import print_json, remark, say, wants_colour
from cnnc.cli.options import json_option
from cnnc.files import replace_file
from cnnc.frontend.files import decode_source, read_source
from cnnc.frontend.formatting.format import format_source
from cnnc.frontend.formatting.markdown import format_markdown
from cnnc.table import plural

STANDARD_INPUT = "-"
_COLOURS = {"@": "36", "-": "31", "+": "32"}


@dataclass(frozen=True, slots=True)
class Formatted:
    """A file before and after; `path` is None for standard input."""

    name: str
    path: Path | None
    old: str
    new: str

    @property
    def changes(self) -> bool:
        """Whether the file is not in its canonical layout."""
        return self.old != self.new

    def diff(self) -> str:
        """What changes, as a unified diff."""
        old, new = (text.removesuffix("\n").split("\n") for text in (self.old, self.new))
        lines = unified_diff(old, new, self.name, f"{self.name} (formatted)", lineterm="")
        return "\n".join(lines)


@click.command(short_help="Lay .cnn files out in the one canonical way.")
@click.argument("files", nargs=-1, metavar="FILES…|-")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--diff", "show_diff", is_flag=True, help="Write nothing; show what would change.")
@json_option
@click.pass_context
def fmt(
    context: click.Context, files: tuple[str, ...], check: bool, show_diff: bool, as_json: bool
) -> None:
    """Format .cnn files in place, and the ```cnn blocks of .md files.

    Folders are searched for .cnn files; `-` reads standard input and writes standard output. The
    meaning of a program and its comments never change.
    """
    if not files:
        raise fail("E0803", "`cnnc fmt` is given no file", help="name files or folders, or `-`")
    done: list[Formatted] = []
    found: list[Diagnostic] = []
    for path in [path for name in files for path in _expand(name)]:
        try:
            done.append(_format(path))
        except UserError as error:
            found += error.diagnostics
    writes = not check and not show_diff
    for each in done if writes else ():
        if each.path is None:
            if not as_json:
                click.echo(each.new, nl=False)
        elif each.changes:
            target = each.path.resolve()
            replace_file(target, each.new.encode(), target.stat().st_mode & 0o7777)
    if as_json:
        print_json(_as_json(done, found))
    else:
        _tell(done, found, check=check, show_diff=show_diff)
    context.exit(1 if found or (check and any(each.changes for each in done)) else 0)


def _expand(name: str) -> Iterator[str | Path]:
    """The files a name stands for."""
    path = Path(name)
    if not name:  # which is no way to say: everything here
        raise fail("E0701", "the name of a file is empty")
    if name == STANDARD_INPUT:
        yield name
    elif _is_folder(path):
        hidden = (each for each in sorted(path.rglob("*.cnn")) if each.is_file())
        yield from (each for each in hidden if not _is_hidden(each.relative_to(path)))
    else:
        yield path


def _is_folder(path: Path) -> bool:
    """UserError for one that is closed: it would look empty."""
    try:
        return path.is_dir() and os.listdir(path) is not None
    except OSError as error:
        reason = error.strerror or str(error)
        raise fail("E0702", f"`{path}` cannot be read", notes=(reason,)) from None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _format(path: str | Path) -> Formatted:
    if isinstance(path, str):
        if sys.stdin is None:  # as it is where whoever called closed it
            raise fail("E0702", "standard input is closed")
        data = sys.stdin.buffer.read()
        return Formatted("stdin", None, _text(data), format_source(decode_source("stdin", data)))
    source, old = read_source(path), _text(path.read_bytes())
    if path.suffix != ".md":
        return Formatted(str(path), path, old, format_source(source))
    return Formatted(str(path), path, old, _like(old, format_markdown(source)))


def _like(old: str, new: str) -> str:
    """The text of a page with the mark and line ends it had: not all of it is ours to lay out."""
    mark = "\ufeff" if old.startswith("\ufeff") else ""
    return mark + (new.replace("\n", "\r\n") if "\r\n" in old else new)


def _text(data: bytes) -> str:
    """The bytes as text, with the line ends they have."""
    return data.decode("utf-8", errors="surrogateescape")


def _tell(
    done: Sequence[Formatted], found: Sequence[Diagnostic], *, check: bool, show_diff: bool
) -> None:
    changed = [each for each in done if each.changes]
    if show_diff:
        for each in changed:
            say(_coloured(each.diff()) if wants_colour(sys.stdout) else each.diff())
    else:
        verb = "would change" if check else "formatted"
        for each in changed:
            if each.path is not None or check:
                remark(f"{verb} {each.name}")
    if found:
        remark(report(found, colour=wants_colour(sys.stderr)))
    if any(each.path is not None for each in done):
        same = len(done) - len(changed)
        verb = "would change" if check or show_diff else "formatted"
        remark(f"{plural(len(changed), 'file')} {verb}, {same} unchanged")


def _coloured(diff: str) -> str:
    lines = []
    for line in diff.split("\n"):
        colour = "1" if line.startswith(("---", "+++")) else _COLOURS.get(line[:1])
        lines.append(f"\x1b[{colour}m{line}\x1b[0m" if colour else line)
    return "\n".join(lines)


def _as_json(done: Sequence[Formatted], found: Sequence[Diagnostic]) -> Json:
    files: list[Json] = [
        {"file": each.name, "changed": each.changes, "diff": each.diff(), "text": each.new}
        for each in done
    ]
    return {"ok": not found, "files": files, "diagnostics": [to_json(each) for each in found]}
