"""Backends as tests use them: equal code is compiled once in a process, and C fast."""

import pytest

from cnnc.backends.base import Backend
from cnnc.backends.c.backend import CBackend, CExecutable
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.backend import NativeBackend, NativeExecutable
from cnnc.backends.native.targets import named_target, runs_here
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.kernel import Program
from tests.tools import require_tool


class Memory:
    """Keeps everything for as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """See Store."""
        return self._kept.get(key)

    def put(self, key: str, data: bytes) -> None:
        """See Store."""
        self._kept[key] = data


KEPT = Memory()


class Compiled(CBackend):
    """See Backend; it is only there where there is a compiler."""

    def __init__(self) -> None:
        super().__init__(level=1)

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> CExecutable:
        """See Backend."""
        require_tool("gcc", package="gcc")
        return super().compile(program, target, threads, store or KEPT)


class _Native(NativeBackend):
    """See Backend."""

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> NativeExecutable:
        """See Backend."""
        return super().compile(program, target, threads, store or KEPT)


C = Compiled()
NATIVE = _Native()
BACKENDS = [
    pytest.param(INTERP, "x86-64", id="interp"),
    pytest.param(NATIVE, "native", id="native"),
    pytest.param(C, "native", id="c"),
    pytest.param(NATIVE, "x86-64-v3", id="avx2"),
    pytest.param(NATIVE, "x86-64", id="sse2"),
]
"""Where kernels with vectors run: each backend and what it compiles for."""


def runnable(backend: Backend, name: str) -> Target:
    """The target of this name; skips the test where this machine does not run its machine code."""
    target = named_target(name)
    if backend is NATIVE and not runs_here(target):
        pytest.skip(f"this machine does not run {name} code")
    return target
