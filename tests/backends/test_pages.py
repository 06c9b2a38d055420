"""LLVM's library gives its memory back, and works as before."""

import sys

import numpy as np
import pytest

import cnnc
from cnnc.backends.native.pages import release_llvm

NET = """cnn 1
net n {
  input x: f32[1, 4, 6, 6]
  output y = x -> conv(CHANNELS, 3) -> relu
  weights he(seed = 0)
}
"""


def compiled(channels: int, monkeypatch: pytest.MonkeyPatch) -> cnnc.Compiled:
    """A network whose code LLVM has to make."""
    monkeypatch.setenv("CNNC_CACHE", "off")
    return cnnc.load_text(NET.replace("CHANNELS", str(channels))).compile()


def mapped_bytes() -> int:
    """Resident memory that belongs to LLVM's library."""
    total, inside = 0, False
    with open("/proc/self/smaps", encoding="utf-8") as file:
        for line in file:
            if "-" in line.split()[0]:
                inside = line.rstrip().endswith("libllvmlite.so")
            elif inside and line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024
    return total


@pytest.mark.skipif(sys.platform != "linux", reason="does nothing elsewhere")
def test_memory_is_given_back_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiled(5, monkeypatch)
    held = mapped_bytes()
    release_llvm()
    assert mapped_bytes() < held / 2
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 6), np.float32)
    again, other = compiled(5, monkeypatch), compiled(7, monkeypatch)
    assert before(x)["y"].tobytes() == again(x)["y"].tobytes()
    assert other(x)["y"].shape == (1, 7, 4, 4)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    release_llvm()
