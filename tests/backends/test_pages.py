"""LLVM's library gives its memory back, and works as before."""

import ctypes
import platform
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


def anonymous_bytes() -> int:
    """Resident memory that is no file's."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:"))


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_freed_memory_goes_back_to_the_system() -> None:
    library = ctypes.CDLL(None)
    library.malloc.argtypes, library.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
    library.free.argtypes = (ctypes.c_void_p,)
    size = 60_000  # below what malloc takes from the system piece by piece
    pieces = [library.malloc(size) for _ in range(400)]
    for piece in pieces:
        ctypes.memset(piece, 1, size)
    for piece in pieces[:-1]:  # the last one keeps the end of the heap where it is
        library.free(piece)
    held = anonymous_bytes()
    release_llvm()
    assert anonymous_bytes() < held - 300 * size
    library.free(pieces[-1])


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    release_llvm()
