"""`benchmarks/cuda.py` on a machine without a GPU: what it can do, and politely what it cannot."""

import os
import subprocess
import sys
from pathlib import Path

from tests.tools import require_tool

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "cuda.py"


def test_the_script_says_what_is_missing() -> None:
    """GPUs are hidden from it, so that nothing is measured where there is one either."""
    require_tool("g++", "g++")
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, env=os.environ | hidden
    )
    assert done.returncode == 0, done.stderr
    assert "8 run" in done.stdout
    assert done.stdout.endswith("GPU here: nothing is measured\n")
