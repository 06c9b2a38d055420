"""`cnnc fmt`: files in place, checks, differences, standard input."""

import io
import os
from pathlib import Path

import pytest

from tests.cli.helpers import Runner

UGLY = "cnn 1\nparam a=1  # one\nparam b =  [1,2,]\n"
GOOD = "cnn 1\nparam a = 1  # one\nparam b = [1, 2]\n"


@pytest.fixture
def ugly(tmp_path: Path) -> Path:
    """A file that is not in its layout."""
    path = tmp_path / "ugly.cnn"
    path.write_text(UGLY)
    return path


def test_files_are_formatted_in_place(cnnc: Runner, ugly: Path) -> None:
    """Permissions stay, nothing else is left in the folder, and the second time nothing changes."""
    ugly.chmod(0o640)
    assert "formatted" in cnnc("fmt", ugly).err
    assert ugly.read_text() == GOOD
    assert ugly.stat().st_mode & 0o777 == 0o640
    assert os.listdir(ugly.parent) == ["ugly.cnn"]
    before = ugly.stat()
    assert cnnc("fmt", ugly).err == "0 files formatted, 1 unchanged\n"
    assert ugly.stat().st_ino == before.st_ino


def test_a_link_stays_one(cnnc: Runner, ugly: Path) -> None:
    """The file it leads to is formatted."""
    link = ugly.with_name("link.cnn")
    link.symlink_to(ugly)
    cnnc("fmt", link)
    assert link.is_symlink()
    assert ugly.read_text() == GOOD


def test_check_writes_nothing(cnnc: Runner, ugly: Path) -> None:
    """It lists what would change, and fails."""
    good = ugly.with_name("good.cnn")
    good.write_text(GOOD)
    text = cnnc("fmt", "--check", ugly, good, code=1).err
    assert f"would change {ugly}" in text
    assert f"would change {good}" not in text
    assert ugly.read_text() == UGLY
    assert cnnc("fmt", "--check", good).err == "0 files would change, 1 unchanged\n"


def test_diff_shows_what_would_change(cnnc: Runner, ugly: Path) -> None:
    """As a unified diff; with --check it fails as well."""
    text = cnnc("fmt", "--diff", ugly).out
    assert "-param a=1  # one\n+param a = 1  # one\n" in text.replace("-param b =  [1,2,]\n", "")
    assert text.startswith(f"--- {ugly}\n+++ {ugly}")
    cnnc("fmt", "--diff", "--check", ugly, code=1)
    assert ugly.read_text() == UGLY


def test_line_ends_and_marks_of_other_systems(cnnc: Runner, tmp_path: Path) -> None:
    """CRLF and a byte order mark are no part of the layout."""
    path = tmp_path / "net.cnn"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    cnnc("fmt", "--check", path, code=1)
    cnnc("fmt", path)
    assert path.read_bytes() == GOOD.encode()


def test_standard_input(cnnc: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through to standard output; mistakes come with their place."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(UGLY.encode())))
    assert cnnc("fmt", "-").out == GOOD
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"cnn 1\nparam a = )\n")))
    assert "stdin:2:11" in cnnc("fmt", "-", code=1).err


def test_folders_and_pages(cnnc: Runner, ugly: Path) -> None:
    """Folders are searched for .cnn files, hidden ones left out; pages have blocks."""
    hidden = ugly.parent / ".cache" / "old.cnn"
    hidden.parent.mkdir()
    hidden.write_text(UGLY)
    deeper = ugly.parent / "a" / "b" / "net.cnn"
    deeper.parent.mkdir(parents=True)
    deeper.write_text(UGLY)
    page = ugly.parent / "page.md"
    page.write_text(f"# Net\n\n```cnn\n{UGLY}```\n\n```sh\nparam a=1\n```\n")
    cnnc("fmt", ugly.parent)
    assert ugly.read_text() == deeper.read_text() == GOOD
    assert hidden.read_text() == UGLY
    assert UGLY in page.read_text()
    cnnc("fmt", page)
    assert page.read_text() == f"# Net\n\n```cnn\n{GOOD}```\n\n```sh\nparam a=1\n```\n"


def test_pages_keep_what_is_not_a_program(cnnc: Runner, ugly: Path) -> None:
    """Line ends, byte order marks, and fences that are shown inside longer ones."""
    page = ugly.with_name("page.md")
    shown = f"````md\n```cnn\n{UGLY}```\n````\n~~~\n```cnn\n{UGLY}```\n~~~\n"
    text = f"\ufeffNet\n\n{shown}\n```cnn\n%s```\n".replace("\n", "\r\n")
    page.write_bytes((text % UGLY.replace("\n", "\r\n")).encode())
    cnnc("fmt", page)
    assert page.read_bytes().decode() == text % GOOD.replace("\n", "\r\n")
    cnnc("fmt", "--check", page)


def test_no_name_is_no_folder(cnnc: Runner, ugly: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a variable that is not set: nothing is formatted."""
    monkeypatch.chdir(ugly.parent)
    assert "E0701" in cnnc("fmt", "", ugly, code=1).err
    assert ugly.read_text() == UGLY


def test_mistakes_leave_a_file_alone(cnnc: Runner, ugly: Path) -> None:
    """They are shown with carets; the other files are formatted all the same."""
    bad = ugly.with_name("bad.cnn")
    bad.write_text("cnn 1\nparam a = = 1\n")
    text = cnnc("fmt", bad, ugly, ugly.with_name("none.cnn"), code=1).err
    assert "bad.cnn:2:11" in text
    assert "^" in text
    assert "E0701" in text
    assert bad.read_text() == "cnn 1\nparam a = = 1\n"
    assert ugly.read_text() == GOOD
    assert "E0803" in cnnc("fmt", code=1).err


def test_json(cnnc: Runner, ugly: Path) -> None:
    """Which files change, how, and what is wrong."""
    data = cnnc("fmt", "--check", "--json", ugly, ugly.with_name("none.cnn"), code=1).json()
    assert data["ok"] is False
    assert [each["code"] for each in data["diagnostics"]] == ["E0701"]
    (only,) = data["files"]
    assert only["changed"] is True
    assert "+param a = 1" in only["diff"]
