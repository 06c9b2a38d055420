"""Files that cnnc writes: whole or not at all."""

import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cnnc.base.errors import UserError, fail


def write_dump(folder: Path | None, name: str, text: str) -> Path:
    """Write the text into the folder, or into a new temporary one; where it lies then."""
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="cnnc-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise fail("E0704", f"the folder `{folder}` cannot be made", notes=(reason,)) from None
    path = folder / name
    replace_file(path, text.encode())
    return path


def keep_evidence(folder: Path | None, name: str, text: str) -> Path | None:
    """The same for what a bug leaves behind: where it cannot be written, the bug still shows."""
    try:
        return write_dump(folder, name, text)
    except UserError:
        return None


def named_path(text: str, option: str) -> Path:
    """The path that an option was given; UserError for an empty one.

    To the system, that would be the folder one is in.
    """
    if not text:
        help = "name a file or a folder: `.` is the folder you are in"
        raise fail("E0803", f"`{option}` is empty", help=help)
    return Path(text)


@contextmanager
def _for_writing(path: Path) -> Iterator[None]:
    """UserError where the system refuses even to look: names too long, folders that are closed."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise fail("E0704", f"`{path}` cannot be written", notes=(reason,)) from None


def check_file(path: Path, *suffixes: str) -> None:
    """UserError for a path that is no file to write, or whose name does not end in one of these.

    Whoever works long for what goes there asks before that.
    """
    with _for_writing(path):
        if not path.name or path.is_dir():
            help = f"name a file in it: {path / f'net{suffixes[0]}'}"
            raise fail("E0704", f"`{path}` is a folder", help=help)
        if path.suffix.lower() not in suffixes:
            message = f"`{path}` does not end in {' or '.join(suffixes)}"
            raise fail("E0703", message, help=f"write {path.with_suffix(suffixes[0])}")
        if not path.parent.is_dir():
            help = f"make the folder `{path.parent}` first"
            if path.parent.exists():
                help = f"`{path.parent}` is a file: name a folder"
            raise fail("E0704", f"`{path}` cannot be written", help=help)


def keep_files(path: Path, read: Iterable[Path], option: str = "-o") -> None:
    """UserError for a path to write, given by an option, that is one of the files read for it."""
    for other in read:
        with _for_writing(path):
            is_same = path.exists() and other.exists() and path.samefile(other)
        if is_same:
            message = f"`{path}` is read by this command, and would be replaced"
            raise fail("E0704", message, help=f"name another file with {option}")


def check_folder(path: Path, *suffixes: str) -> None:
    """UserError for a path that is no folder to write to: a file, or a new one named like one.

    `suffixes` are those of the files that would go into it.
    """
    with _for_writing(path):
        if path.is_dir():
            return
        if path.exists():
            raise fail("E0704", f"`{path}` is a file, and the output is a folder")
    if path.suffix.lower() in suffixes:
        help = f"write {path.with_suffix('')}, or `mkdir {path}` first"
        raise fail(
            "E0703", f"`{path}` is the name of a file, and the output is a folder", help=help
        )


def replace_file(path: Path, data: bytes | bytearray, mode: int | None = None) -> None:
    """Write a file under a temporary name beside it, then rename; UserError where that fails.

    `mode` is that of the new file, where the usual one will not do.
    """
    if not path.name:
        raise fail("E0704", f"`{path}` is a folder")
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, path)
    except BaseException as error:  # an interrupt too must leave nothing behind
        with suppress(OSError):  # which a closed folder raises again
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or str(error)
        raise fail("E0704", f"`{path}` cannot be written", notes=(reason,)) from None
