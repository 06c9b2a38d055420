"""Small files take little memory, whatever they claim: the peak of a process of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.onnx.test_attacks import ATTACKS
from tests.onnx.test_hostile import ADVERSARIAL

MOST_MEGABYTES = 600
"""Of the process at its peak, which has some hundred before it loads anything."""
MEASURE = """
import contextlib, json, sys
import cnnc.onnx
from cnnc.base.errors import UserError
from tests.onnx.test_attacks import ATTACKS
from tests.onnx.test_hostile import ADVERSARIAL

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

made = {**{name: make for name, (make, _) in ADVERSARIAL.items()}, **ATTACKS}
peaks = {}
for name, make in made.items():
    data = make().SerializeToString()
    open("/proc/self/clear_refs", "w").write("5")
    with contextlib.suppress(UserError):
        cnnc.onnx.load(data)
    peaks[name] = peak()
json.dump(peaks, sys.stdout)
"""


def can_measure() -> bool:
    """Whether the peak can be set back, as Linux does."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not can_measure(), reason="the peak cannot be set back")
def test_every_attack_takes_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    peaks: dict[str, int] = json.loads(done.stdout)
    assert {*peaks} == {*ADVERSARIAL, *ATTACKS}
    assert {name: size for name, size in peaks.items() if size > MOST_MEGABYTES} == {}
