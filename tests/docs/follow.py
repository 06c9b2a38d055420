"""Follows a tutorial to the letter, in a copy of the project: writes its files, runs its commands.

A block fenced as ```python PATH or ```cnn PATH is a file, ```diff PATH a change of one, ```console
holds commands.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COPIED = ("cnnc", "grammar", "templates", "docs", "tests", "pyproject.toml")


def copy_project(folder: Path) -> None:
    """What the commands of a tutorial need, in an empty folder."""
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder / name)


def follow(page: Path, folder: Path) -> list[tuple[str, str]]:
    """Do what the page says; each command with what it printed."""
    printed = []
    for language, name, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "console":
            printed += [(line, run(line, folder)) for line in text.splitlines()]
        elif language == "diff":
            change(folder / name, text)
        elif name:
            path = folder / name
            assert not path.exists(), f"{name} is there already"
            path.write_text(text, encoding="utf-8")
    return printed


def change(path: Path, diff: str) -> None:
    """Apply a difference; its lines must be found exactly once."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} has not exactly one\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def run(line: str, folder: Path) -> str:
    """What a command prints; it must end well."""
    program, *args = shlex.split(line.removeprefix("$ "))
    start = {"cnnc": [sys.executable, "-m", "cnnc"], "python": [sys.executable]}[program]
    ended = subprocess.run(
        [*start, *args],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONIOENCODING": "utf-8"},
    )
    assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
    return ended.stdout
