"""Each benchmark says what it does before it does anything."""

import ast
import subprocess
import sys

import pytest
from zoo import ZOO

FOLDER = ZOO.parents[1] / "benchmarks"
SCRIPTS = sorted(
    path.name for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text()
)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_there_are_some() -> None:
    assert {"barriers.py", "peers.py", "zoo.py"} & {*SCRIPTS} == {"barriers.py", "peers.py"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str) -> None:
    """Its own text, not a measurement; what it does not know is an error."""
    command = [sys.executable, str(FOLDER / script)]
    ended = _run(*command, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"usage: {script}")
    said = ended.stdout.split("\n\n")[1]
    doc = ast.get_docstring(ast.parse((FOLDER / script).read_text(encoding="utf-8"))) or ""
    assert len(said.split()) >= 4
    assert len(doc.split()) >= 4
    wrong = _run(*command, "lenet5", "--nothing")
    assert wrong.returncode == 2
    assert "--nothing" in wrong.stderr
