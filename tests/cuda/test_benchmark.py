"""`benchmarks/cuda.py` on a machine without a GPU: what it can do, and politely what it cannot."""

import os
import subprocess
import sys
from pathlib import Path

from cnnc.backends.cuda.toolchain import find_gpu
from tests.tools import require_tool

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "cuda.py"


def test_the_script_says_what_is_missing(tmp_path: Path) -> None:
    """nvcc is hidden from it, so nothing is measured where there is a GPU either."""
    (tmp_path / "g++").symlink_to(require_tool("g++", "g++"))
    hidden = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CUDA_HOME": "", "CUDA_PATH": ""}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, env=os.environ | hidden
    )
    assert done.returncode == 0, done.stderr
    assert "6 run" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.endswith("here: nothing is measured") or find_gpu()
