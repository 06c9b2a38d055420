"""Bugs that are put into kernels are found: the checks bite."""

import json
import subprocess
import sys
from pathlib import Path

from tests.tools import require_tool

ROOT = Path(__file__).resolve().parents[3]


def test_every_seeded_bug_is_found(tmp_path: Path) -> None:
    require_tool("g++", "g++")
    command = [sys.executable, "-m", "tests.cuda.kernels.mutants", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert json.loads(done.stdout) == {"survivors": [], "broken": []}
