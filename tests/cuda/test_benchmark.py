"""`benchmarks/cuda.py` on a machine without a GPU: what it can do, and politely what it cannot."""

import os
import subprocess
import sys
from pathlib import Path

from gpu.networks import Time, table

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


def test_peers_are_those_of_the_same_precision() -> None:
    times = [
        Time("net", 1, "cnnc bf16", 1.0),
        Time("net", 1, "cnnc tf32", 3.0),
        Time("net", 1, "cnnc f32", 5.0),
        Time("net", 1, "torch bf16", 2.0),
        Time("net", 1, "torch.compile bf16", None, "not here"),
        Time("net", 1, "onnxruntime", 4.0),
        Time("net", 64, "torch f32", 1.0),
    ]
    ratios = [line.split()[-1] for line in table(times).splitlines()[1:4]]
    assert ratios == ["0.50", "0.75", "5.000"]
