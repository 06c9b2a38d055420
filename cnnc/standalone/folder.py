"""A folder of output files: all of them are ready before the first is put in its place."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from cnnc.base.errors import UserError, fail
from cnnc.base.record import record

Data = bytes | bytearray | memoryview
_WORK = ".cnnc-build-"


@record
class File:
    """A file to write: its name in the folder, and what it holds."""

    name: str
    data: Data


class Output:
    """A folder that output goes to, and one in it where output is made first.

    `guard` is asked about the names of all files before one is moved, and says which of the old
    ones go.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder = folder
        self.work = work
        self.guard: Callable[[Sequence[str]], Sequence[str]] = lambda names: ()

    def add(self, file: File) -> None:
        """Put a file among those to be moved into the folder at the end."""
        path = self.work / file.name
        if path.exists():
            raise fail(
                "E0803",
                f"two files of the output are called `{file.name}`",
                help="give the network another `--name`",
            )
        try:
            path.write_bytes(file.data)
        except OSError as error:
            raise _cannot(self.folder / file.name, error) from None

    def finish(self) -> None:
        """Move all files into the folder; where one cannot be, none is."""
        names = sorted(path.name for path in self.work.iterdir())
        for name in names:
            if (self.folder / name).is_dir():
                why = (
                    f"`{self.folder / name}` is a folder, and a file of that name is to be written"
                )
                raise fail("E0704", why)
        old = self.work / ".old"
        old.mkdir()
        gone = self.guard(names)
        with _uninterrupted():
            try:
                for name in {*names, *gone}:
                    if (self.folder / name).exists():
                        os.replace(self.folder / name, old / name)
                for name in names:
                    os.replace(self.work / name, self.folder / name)
            except OSError as error:
                for path in old.iterdir():
                    os.replace(path, self.folder / path.name)
                raise _cannot(self.folder, error) from None


@contextmanager
def open_output(folder: Path) -> Iterator[Output]:
    """The folder, made if need be; on leaving, its new files replace those of the same names.

    If anything fails before, the folder stays as it was. An interrupt waits until all files are in
    their places. UserError for a folder that cannot be written to.
    """
    made = _make(folder)
    try:
        _remove_abandoned(folder)
        work = Path(tempfile.mkdtemp(prefix=f"{_WORK}{os.getpid()}-", dir=folder))
    except OSError as error:
        _unmake(made)
        raise _cannot(folder, error) from None
    try:
        with _terminated():
            output = Output(folder, work)
            yield output
            output.finish()
        made = ()
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _unmake(made)


def _remove_abandoned(folder: Path) -> None:
    """Remove what builds left here that were killed."""
    for path in folder.glob(f"{_WORK}*"):
        number = path.name.removeprefix(_WORK).partition("-")[0]
        if not number.isdigit() or not _runs(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _make(folder: Path) -> Sequence[Path]:
    """Make the folder and those it lies in; the ones that were not there, the innermost first."""
    missing: list[Path] = []
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _unmake(missing)
        raise _cannot(folder, error) from None
    return missing


def _unmake(folders: Sequence[Path]) -> None:
    for each in folders:
        with suppress(OSError):
            each.rmdir()


def _cannot(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return fail("E0704", f"`{path}` cannot be written", notes=(reason,))


Handler = Callable[[int, FrameType | None], None]


@contextmanager
def _handled(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    """Signals go to the handler, in the main thread; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Mapping[int, object] = {each: signal.signal(each, handler) for each in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)  # type: ignore[arg-type]


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM ends the work as an interrupt does, so that it is tidied up."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled([signal.SIGTERM], leave):
        yield


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Remember an interrupt, and raise it at the end."""
    caught: list[int] = []
    with _handled([signal.SIGINT, signal.SIGTERM], lambda number, frame: caught.append(number)):
        yield
    for number in caught:
        signal.raise_signal(number)
