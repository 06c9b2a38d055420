"""Folders of output: whole or as they were."""

import os
import signal
from pathlib import Path

import pytest

from cnnc import UserError
from cnnc.standalone import folder as module
from cnnc.standalone.folder import File, open_output


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_new_files_replace_those_of_the_same_names(tmp_path: Path) -> None:
    """Others stay, and nothing else is left."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "mine").write_bytes(b"kept")
    with open_output(tmp_path) as output:
        output.add(File("a", b"new"))
        output.add(File("b", b"more"))
        assert (tmp_path / "a").read_bytes() == b"old"
    assert contents(tmp_path) == {"a": b"new", "b": b"more", "mine": b"kept"}


def test_folders_are_made(tmp_path: Path) -> None:
    """With those they lie in."""
    with open_output(tmp_path / "x" / "y") as output:
        output.add(File("a", b"1"))
    assert contents(tmp_path / "x" / "y") == {"a": b"1"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """Neither files nor folders, and what was there stays."""
    (tmp_path / "a").write_bytes(b"old")

    def fail(folder: Path) -> None:
        with open_output(folder) as output:
            output.add(File("a", b"new"))
            raise error

    for folder in (tmp_path, tmp_path / "x" / "y"):
        with pytest.raises(error):
            fail(folder)
    assert contents(tmp_path) == {"a": b"old"}


def test_an_interrupt_waits_for_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the first file is moved, and is raised after the last."""
    names = ["a", "b", "c"]
    for name in names:
        (tmp_path / name).write_bytes(b"old")
    replace = os.replace

    def interrupted(source: Path, target: Path) -> None:
        if target.name == "a":
            os.kill(os.getpid(), signal.SIGINT)
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", interrupted)

    def write() -> None:
        with open_output(tmp_path) as output:
            for name in names:
                output.add(File(name, b"new"))

    # what runs the tests may ignore interrupts
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
    finally:
        signal.signal(signal.SIGINT, before)
    assert contents(tmp_path) == dict.fromkeys(names, b"new")


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    """It is refused, as is a folder in a file's place."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="cannot be written"), open_output(tmp_path / "file"):
        pass
    with pytest.raises(UserError, match="is a folder"), open_output(tmp_path) as output:
        output.add(File("a", b"new"))
    assert (tmp_path / "a").is_dir()
    assert len(contents_names(tmp_path)) == 2


def contents_names(folder: Path) -> list[str]:
    """Names of all entries."""
    return [path.name for path in folder.iterdir()]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_must_not_be_written_to(tmp_path: Path) -> None:
    """A user's error."""
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"), open_output(tmp_path):
        pass
