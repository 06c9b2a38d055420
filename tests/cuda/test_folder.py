"""The folder of CUDA source as its user has it: what it says of itself, and its own test."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from cnnc.api import load_text
from cnnc.standalone.build import build
from cnnc.standalone.golden import SAMPLES
from cnnc.standalone.request import Request
from tests.cuda.shim import SHIM
from tests.tools import require_tool

NET = """cnn 1
net pair {
  input a: f32[N, 8, 6, 6]
  input b: f32[N, 8, 6, 6]
  both = add(a, b) -> conv(16, 3) -> relu
  output best = both -> pool(avg, global) -> flatten -> dense(5) -> argmax(1)
  output y = both -> pool(max, 2)
  weights he(seed = 1)
}
"""
NVCC = f"""#!/bin/sh
# g++ in place of nvcc: without its flags, and with the shim
for each; do
    shift
    case "$each" in
    --fmad=* | --diag-suppress=* | -lineinfo | -arch=* | -Xcompiler) ;;
    *.cu) set -- "$@" -x c++ "$each" -x none ;;
    *) set -- "$@" "$each" ;;
    esac
done
exec g++ -O1 -w -ffp-contract=off -fno-strict-aliasing -fPIC "-I{SHIM}" "$@"
"""


def _make_test(folder: Path) -> "subprocess.CompletedProcess[str]":
    require_tool("make", "make")
    nvcc = folder / "nvcc.sh"
    nvcc.write_text(NVCC)
    nvcc.chmod(0o755)
    command = ["make", "test", f"NVCC={nvcc}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("words", ["", ":bf16", ":sm_90,f16"])
def test_its_own_test_passes(tmp_path: Path, words: str) -> None:
    """With more samples than are different."""
    request = Request(forms=("cuda",), target=f"cuda{words}")
    build(load_text(NET, batch=(1, SAMPLES + 2)), tmp_path, request)
    done = _make_test(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("y: largest error") == 2
    assert "0 of 384 out of tolerance" in done.stdout
    assert "PASSED" in done.stdout


def test_its_own_test_finds_what_is_wrong(tmp_path: Path) -> None:
    """Another result, files that were cut off, or are not there."""
    build(load_text(NET), tmp_path, Request(forms=("cuda",)))
    golden, weights = tmp_path / "golden.bin", tmp_path / "pair.weights"
    data, whole = golden.read_bytes(), weights.read_bytes()
    floats = np.frombuffer(data, np.float32).copy()
    floats[-65] += 1  # what is expected, before 64 tolerances
    golden.write_bytes(floats.tobytes())
    done = _make_test(tmp_path)
    assert done.returncode
    assert "1 of 64 out of tolerance" in done.stdout
    assert "FAILED" in done.stdout
    golden.write_bytes(data[:-1])
    assert "FAILED: golden.bin is not there, or was cut off" in _make_test(tmp_path).stdout
    golden.write_bytes(data)
    assert "PASSED" in _make_test(tmp_path).stdout
    weights.write_bytes(whole[:-1])
    assert "FAILED: pair.weights is not there, or was cut off" in _make_test(tmp_path).stdout
    golden.unlink()
    weights.write_bytes(whole)
    assert "FAILED: golden.bin" in _make_test(tmp_path).stdout


def test_it_says_what_it_was_made_for(tmp_path: Path) -> None:
    request = Request(forms=("cuda",), target="cuda:sm_90,bf16")
    build(load_text(NET, batch=(1, 64)), tmp_path, request)
    for name in ("README.md", "pair.h", "pair.cu"):
        text = (tmp_path / name).read_text()
        assert "target   cuda:sm_90,bf16 (factors of 7 bits on tensor cores" in text, name
        assert "batch    1..64 samples a run" in text, name
