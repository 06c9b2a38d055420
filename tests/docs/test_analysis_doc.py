"""docs/analysis.md is run: commands print what it shows, Python prints what its comments say."""

import re
import shlex
from pathlib import Path

import pytest

from cnnc.cli import run_command
from tests.docs.test_docs import ROOT, blocks

PAGE = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
CONSOLES = blocks(PAGE, "console")
PROGRAMS = blocks(PAGE, "python")


def test_the_page_shows_something() -> None:
    """The lists that the other tests walk are not empty."""
    assert len(CONSOLES) >= 2
    assert len(PROGRAMS) >= 3


@pytest.mark.parametrize("text", CONSOLES)
def test_commands(
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They end well and print what stands below them, if anything does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    prompt, _, expected = text.partition("\n")
    program, *args = shlex.split(prompt.removeprefix("$ "))
    assert program == "cnnc"
    assert run_command(args) == 0
    assert not expected or capsys.readouterr().out == expected


@pytest.mark.parametrize("text", PROGRAMS)
def test_programs(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They run from the repository, and every line they print stands in a comment, in order."""
    monkeypatch.chdir(ROOT)
    exec(compile(text, "analysis.md", "exec"), {})
    announced = re.findall(r"(?:^ +|\)  )# (.+)$", text, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == announced
