"""README and docs are run: networks compile, Python executes, commands end well."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnc
from cnnc.cli import cli, run_command
from cnnc.ops.spec import operators
from cnnc.options import KNOBS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CHANGELOG.md"]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """What the README types at a prompt."""
    lines = [line for block in blocks(README, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_the_readme_shows_something() -> None:
    """The lists that the other tests walk are not empty."""
    assert blocks(README, "cnn")
    assert blocks(README, "python")
    assert len(commands()) >= 5


@pytest.mark.parametrize("text", blocks(README, "cnn"))
def test_networks_of_the_readme(text: str) -> None:
    """They compile and agree with their reference."""
    model = cnnc.load_text(text)
    assert cnnc.diff(model).ok
    assert cnnc.load_text(text, set={"width": 32}).layers[0].shape[1] == 32


def test_python_of_the_readme(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs from the repository, block after block, and prints what its comments say."""
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    found = []
    for text in blocks(README, "python"):
        exec(compile(text, "README.md", "exec"), names)
        printed = capsys.readouterr().out
        for comment in re.findall(r"print\(.*?\)\s+# (\{.*)", text):
            assert comment in printed
        found.append(names["prob"])
    every, first = found
    assert isinstance(every, np.ndarray)
    assert every.shape == (5, 10)
    np.testing.assert_array_equal(first, every[:1])


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_readme(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They end well; files they write go to a temporary folder."""
    program, *args = shlex.split(command)
    assert program == "cnnc"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    args += ["--seconds", "0.05"] if args[0] in ("bench", "tune") else []
    assert run_command(args) == 0


def test_every_verb_is_in_the_readme() -> None:
    """The table of verbs is whole, and names no other."""
    listed = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(cli.commands)


def test_the_readme_counts_right() -> None:
    """Operators, and networks of the zoo."""
    assert f"There are {len(list(operators()))} operators" in README
    assert len(list((ROOT / "examples" / "zoo").glob("*.cnn"))) == 20
    assert "has twenty networks" in README


def test_every_room_is_in_the_architecture() -> None:
    """Folders and modules of the package, operators and knobs."""
    package = ROOT / "cnnc"
    rooms = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    table = "\n".join(line for line in ARCHITECTURE.splitlines() if line.startswith("| `"))
    missing = [
        room for room in sorted(rooms) if not room.startswith("_") and f"`{room}`" not in table
    ]
    assert missing == []
    assert all(knob.name in ARCHITECTURE for knob in KNOBS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Links inside the repository name files that exist."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


def test_the_main_job() -> None:
    """What the README's first command runs: accuracy, latency and agreement."""
    script = ROOT / "examples" / "digits" / "run.py"
    ended = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert ended.returncode == 0, ended.stderr
    found = re.search(r"accuracy ([\d.]+)%", ended.stdout)
    assert found
    assert float(found[1]) >= 98
    assert "99.44 %" in README
    assert float(found[1]) == 99.44
    assert "digits agrees with the reference" in ended.stdout


def test_the_sunspots_example(tmp_path: Path) -> None:
    """The trained forecast beats every baseline, one year ahead, and the plot is written."""
    script = ROOT / "examples" / "sunspots" / "run.py"
    ended = subprocess.run(
        [sys.executable, script, "--plot", str(tmp_path / "plot.png")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert ended.returncode == 0, ended.stderr
    errors = dict(
        re.findall(r"^(\S.*?\S) {2,}([\d.]+) ", ended.stdout.split("\n", 2)[2], re.MULTILINE)
    )
    ours = float(errors.pop("sunspots.cnn"))
    assert len(errors) == 3
    assert all(ours < float(other) for other in errors.values())
    assert (tmp_path / "plot.png").stat().st_size > 1000
