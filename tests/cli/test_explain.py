"""`cnnc explain`: one code, all codes, and the hint behind errors."""

import sys
from pathlib import Path

import pytest

from cnnc.base.errors import CODES
from tests.cli.helpers import Runner


def test_one_code(cnnc: Runner) -> None:
    """Title, explanation, what is wrong, what cnnc says, what is right."""
    text = cnnc("explain", "E0302").out
    assert text.startswith(f"E0302: {CODES['E0302']}\n")
    wrong, says, right = (text.index(part) for part in ("is wrong:", "cnnc says:", "is right:"))
    assert wrong < says < right
    assert "error[E0302]" in text[says:right]
    assert text == cnnc("explain", "error[e0302]").out
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("code", CODES)
def test_every_code(cnnc: Runner, code: str) -> None:
    """There is something to say about each."""
    assert cnnc("explain", code).out.count("\n") >= 5


def test_examples_of_several_files(cnnc: Runner) -> None:
    """What is given comes before what is wrong; other files have their names."""
    text = cnnc("explain", "E0601").out
    assert text.index("Given this:") < text.index("This is wrong:") < text.index("This is right:")
    assert "    # other.cnn\n" in cnnc("explain", "E0214").out


def test_all_codes(cnnc: Runner) -> None:
    """A table, and the same as data."""
    text = cnnc("explain").out
    assert all(code in text and title in text for code, title in CODES.items())
    data = cnnc("explain", "--json").json()
    assert [each["code"] for each in data] == [*CODES]
    assert data[0]["example"][0]["wrong"] is True


def test_unknown_codes(cnnc: Runner) -> None:
    """The nearest is named."""
    assert "did you mean `E0302`?" in cnnc("explain", "E302", code=1).err
    assert "lists them all" in cnnc("explain", "shape", code=1).err


def test_the_hint_behind_errors(
    cnnc: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and on terminals only."""
    path = tmp_path / "bad.cnn"
    path.write_text("cnn 1\nparam a = )\nparam b = )\n")
    assert "cnnc explain" not in cnnc("check", path, code=1).err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cnnc("check", path, code=1).err.count("for more: cnnc explain E0103") == 1
