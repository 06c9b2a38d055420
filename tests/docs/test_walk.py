"""A new user's walk: every command and script of the pages, in their order, in a fresh copy."""

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "docs/analysis.md",
    "docs/files.md",
    "docs/performance.md",
    "examples/digits/README.md",
    "examples/sunspots/README.md",
    "examples/zoo/README.md",
)
"""Tutorials that change the package have a test of their own, and so has the page of errors."""
BLOCK = re.compile(r"^```(console|sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ELSEWHERE = ("python3 -m venv", "-m pytest", "pip install", "train.py", "timeit", "resnet18", "S=")
"""Setting up, the whole suite, training and long measurements are not repeated here."""


def steps(page: str) -> list[list[str]]:
    """The command lines of a page; Python goes on where the page's Python before it ended."""
    found, script = [], ""
    for kind, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        if kind == "python":
            script += text
            found = [step for step in found if step[0] != sys.executable]
            found.append([sys.executable, "-c", script])
            continue
        for line in text.splitlines():
            is_command = kind == "sh" or line.startswith("$ ")
            if is_command and not any(part in line for part in ELSEWHERE):
                found.append(shlex.split(line.removeprefix("$ "), comments=True))
    return [step for step in found if step]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone would hold: the files of the repository without anything that was built."""
    target = tmp_path_factory.mktemp("walk") / "cnnc"
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, target, ignore=ignored)
    return target


@pytest.fixture(scope="module")
def environment(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`cnnc` and `python` on the path, both of them for the copy; a cache of its own."""
    folder = tmp_path_factory.mktemp("bin")
    for name, arguments in (("cnnc", "-m cnnc"), ("python", "")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(copy),
        "PYTHONIOENCODING": "utf-8",
        "CNNC_CACHE": str(folder / "cache"),
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_step_of_the_page_works(page: str, copy: Path, environment: dict[str, str]) -> None:
    """In order, each in a process of its own: what one writes, the next one finds."""
    for step in steps(page):
        quick = ["--seconds", "0.05"] if step[:2] == ["cnnc", "bench"] else []
        ran = subprocess.run(
            [*step, *quick], cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, (step, ran.stdout[-2000:], ran.stderr[-2000:])
        assert "Traceback" not in ran.stderr


def test_the_walk_is_one() -> None:
    """The pages have steps, and every command is cnnc's or Python's."""
    found = {page: steps(page) for page in PAGES}
    assert sum(map(len, found.values())) >= 20
    programs = {step[0] for several in found.values() for step in several}
    assert programs <= {"cnnc", "python", ".venv/bin/python", sys.executable}
