"""Reading what a user names: source text, and paths that must stay inside the model's folder."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from cnnc.base.errors import Diagnostic, UserError, did_you_mean, fail
from cnnc.base.source import SourceFile, Span
from cnnc.frontend.parse import MAX_TEXT


def read_source(path: Path) -> SourceFile:
    """A `.cnn` file as text with line ends as `\\n`; UserError if there is none to read."""
    name = str(path)
    try:
        if path.suffix.lower() == ".onnx" and path.is_file():
            message = f"`{name}` is an ONNX model, and this needs a .cnn file"
            raise fail("E0703", message, help=f"make one of it: cnnc import {path.name} -o FOLDER")
        # Opening a pipe without a writer would wait for one.
        if path.is_fifo():
            raise fail("E0702", f"`{name}` is a pipe, not a file")
        with path.open("rb") as file:
            data = file.read(4 * MAX_TEXT + 1)
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else None
        near = [each.name for each in folder.glob("*.cnn")] if folder else []
        help = did_you_mean(path.name, near)
        raise fail("E0701", f"there is no file `{name}`", help=help) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise fail("E0702", f"`{name}` cannot be read", notes=(reason or "",)) from None
    return decode_source(name, data)


def decode_source(name: str, data: bytes) -> SourceFile:
    """Bytes as text with line ends as `\\n`; UserError where they are none, or too many."""
    if len(data) > 4 * MAX_TEXT:
        raise fail("E0501", f"`{name}` is larger than {4 * MAX_TEXT} bytes")
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
    # what is made of the text says where it comes from, in UTF-8 too
    name = os.fsencode(name).decode("utf-8", errors="replace")
    source = SourceFile(name, text.replace("\r\n", "\n").replace("\r", "\n"))
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix("\ufeff")
        start = len(before.replace("\r\n", "\n"))
        raise UserError([_not_utf8(source, start, data[error.start])]) from None
    return source


def _not_utf8(source: SourceFile, start: int, byte: int) -> Diagnostic:
    return Diagnostic(
        "E0105",
        f"the file is not UTF-8 text: byte 0x{byte:02x} fits no character",
        source.span(start, start + 1),
        help="save the file as UTF-8",
    )


def confine(text: str, folder: Path | None, span: Span) -> Path:
    """The file that a path in the text means; UserError unless it lies inside the folder.

    Links are followed before the test, so none leads out.
    """
    if folder is None:
        raise fail("E0407", "a text without a folder cannot name files", span)
    return _find(text, (folder,), span, _BESIDE_MODEL).resolve()


def find_source(text: str, folder: Path | None, others: Sequence[Path], span: Span) -> Path:
    """The file that an `import` means: in the folder of the importing file, else in the others.

    UserError unless it lies inside one of these; links are followed before the test.
    """
    for each in others:
        if not each.is_dir():
            raise fail("E0701", f"there is no folder `{each}` to import from", span)
    folders = [each for each in (folder, *others) if each is not None]
    if not folders:
        help = "give the text a folder, or a path for imports"
        raise fail("E0407", "a text without a folder cannot import files", span, help=help)
    return _find(text, folders, span, _BESIDE_TEXT)


_BESIDE_MODEL = (
    "the folder of the model",
    "keep the file beside the .cnn file, or in a folder below it",
)
_BESIDE_TEXT = (
    "the folders it may lie in",
    "keep the file beside the one that imports it or in a folder below, "
    "or give its folder with --import-path",
)


def _find(text: str, folders: Sequence[Path], span: Span, where: tuple[str, str]) -> Path:
    if not text:
        raise fail("E0407", "the name of the file is empty", span)
    parts = re.split(r"[/\\]", text)
    is_relative = not text.startswith(("/", "\\")) and ":" not in text
    if not is_relative or ".." in parts or not text.isprintable():
        raise _leads_out(text, span, where)
    near: list[str] = []
    for folder in folders:
        try:
            root = folder.resolve(strict=True)
            path = (root / Path(*parts)).resolve()
            if not path.is_relative_to(root):
                raise _leads_out(text, span, where)
            if path.is_file():
                return folder / Path(*parts)
            exists = path.exists()
        except (OSError, RuntimeError, ValueError):
            raise fail("E0702", f"`{text}` cannot be read", span) from None
        if exists:
            raise fail("E0702", f"`{text}` is not a file", span)
        near += _beside(path)
    looked = f"looked in {', '.join(map(str, folders))}"
    help = did_you_mean(path.name, near)
    raise fail("E0701", f"there is no file `{text}`", span, notes=(looked,), help=help)


def _beside(path: Path) -> list[str]:
    """Names of the files where this one was looked for that end as it does."""
    try:
        return [each.name for each in path.parent.iterdir() if each.suffix == path.suffix != ""]
    except OSError:
        return []


def _leads_out(text: str, span: Span, where: tuple[str, str]) -> UserError:
    return fail("E0407", f"`{text}` leads out of {where[0]}", span, help=where[1])
