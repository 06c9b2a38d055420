"""`docs/files.md` is run: its commands end well, its Python executes."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from cnnc.cli import run_command
from tests.docs.test_docs import ROOT, blocks

TEXT = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to write to, with the examples in it, and a cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")


def test_commands() -> None:
    """In order, as later ones use what earlier ones write."""
    lines = [line for block in blocks(TEXT, "console") for line in block.splitlines()]
    assert len(lines) > 4
    for line in lines:
        program, *args = shlex.split(line.removeprefix("$ "))
        assert program == "cnnc"
        args += ["--seconds", "0.05"] if args[0] == "bench" else []
        assert run_command(args) == 0, line


def test_python(capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks, one after the other."""
    found = blocks(TEXT, "python")
    assert found
    names: dict[str, object] = {}
    for block in found:
        exec(compile(block, "files.md", "exec"), names)
    assert isinstance(names["prob"], np.ndarray)
    assert names["prob"].shape == (3, 10)
    assert re.search(r"source='digits\.cnn'", capsys.readouterr().out)
