"""A folder of output files: all of them are ready before the first is put in its place."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from cnnc.base.errors import UserError, fail
from cnnc.base.record import record

Data = bytes | bytearray | memoryview


@record
class File:
    """A file to write: its name in the folder, and what it holds."""

    name: str
    data: Data


class Output:
    """A folder that output goes to, and one beside its files where output is made first."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder = folder
        self.work = work

    def add(self, file: File) -> Path:
        """Put a file among those to be moved into the folder at the end; where it lies now."""
        path = self.work / file.name
        try:
            path.write_bytes(file.data)
        except OSError as error:
            raise _cannot(self.folder / file.name, error) from None
        return path

    def read(self, name: str) -> bytes:
        """What a file holds that was made there, by a tool perhaps."""
        return (self.work / name).read_bytes()


@contextmanager
def open_output(folder: Path) -> Iterator[Output]:
    """The folder, made if need be; on leaving, its new files replace those of the same names.

    If anything fails before, the folder stays as it was. An interrupt waits until all files are in
    their places. UserError for a folder that cannot be written to.
    """
    made = _make(folder)
    try:
        work = Path(tempfile.mkdtemp(prefix=".cnnc-build-", dir=folder))
    except OSError as error:
        _unmake(made)
        raise _cannot(folder, error) from None
    try:
        yield Output(folder, work)
        with _uninterrupted():
            for path in sorted(work.iterdir()):
                _move(path, folder / path.name)
        made = ()
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _unmake(made)


def _make(folder: Path) -> Sequence[Path]:
    """Make the folder and those it lies in; the ones that were not there, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _unmake(missing)
        raise _cannot(folder, error) from None
    return missing


def _unmake(folders: Sequence[Path]) -> None:
    for each in folders:
        with suppress(OSError):
            each.rmdir()


def _move(path: Path, place: Path) -> None:
    try:
        if place.is_dir():
            raise fail("E0704", f"`{place}` is a folder, and a file of that name is to be written")
        os.replace(path, place)
    except OSError as error:
        raise _cannot(place, error) from None


def _cannot(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return fail("E0704", f"`{path}` cannot be written", notes=(reason,))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Remember an interrupt, and raise it at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before: Mapping[int, object] = {
        number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
    for number in caught:
        signal.raise_signal(number)
