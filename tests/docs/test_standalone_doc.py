"""docs/standalone.md is done to the letter: commands, programs in C, and Python."""

import os
import re
import subprocess
import sys
from pathlib import Path

from cnnc.standalone.request import FORMS
from tests.tools import require_tool

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "standalone.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_page_is_followed(tmp_path: Path) -> None:
    """In order, in an empty folder with the examples."""
    for tool in ("cc", "make"):
        require_tool(tool, package="build-essential")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shim = tmp_path / "bin" / "cnnc"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cnnc "$@"\n')
    shim.chmod(0o755)
    path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    for language, name, text in _BLOCK.findall(PAGE):
        if name:
            (tmp_path / name).write_text(text, encoding="utf-8")
        commands = [line.removeprefix("$ ") for line in text.splitlines() if line[:2] == "$ "]
        if language == "python":
            (tmp_path / "page.py").write_text(text, encoding="utf-8")
            commands = [f'"{sys.executable}" page.py']
        for command in commands:
            done = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_every_form_is_explained() -> None:
    """The table has all of them, and no other."""
    table = PAGE[PAGE.index("| form |") : PAGE.index("NAME is the net's")]
    named = {word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row[:18])}
    assert named == set(FORMS)
