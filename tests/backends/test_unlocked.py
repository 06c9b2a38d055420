"""Compiling side by side does not wait for llvmlite's lock, and leaves nothing behind."""

import ctypes

import pytest
from llvmlite.binding import ffi

from cnnc.backends.native.compile import Form, compile_module
from cnnc.backends.native.host import host_target
from cnnc.backends.native.unlocked import _bare


def test_the_long_calls_are_those_behind_the_lock() -> None:
    """Fails where llvmlite's internals change: then compiling works, one module after the other."""
    passes = ("LLVMPY_RunNewModulePassManager", "LLVMPY_RunNewFunctionPassManager")
    for name in (*passes, "LLVMPY_TargetMachineEmitToMemory"):
        assert _bare(name) is not getattr(ffi.lib, name)


SUMS = 500
SOURCE = "\n".join(
    [
        f'target triple = "{host_target().triple}"',
        "define void @sums(ptr noalias %x, ptr noalias %y) {",
        *(f"  %p{i} = getelementptr float, ptr %x, i64 {3 * i}" for i in range(SUMS)),
        *(f"  %v{i} = load float, ptr %p{i}" for i in range(SUMS)),
        *(
            f"  %s{i} = fadd float %v{i}, %{f's{i - 1}' if i else 'v1'}"
            for i in range(SUMS)  # in a row: nothing is left out
        ),
        f"  store float %s{SUMS - 1}, ptr %y",
        "  ret void",
        "}",
    ]
)


class _Usage(ctypes.Structure):
    """See mallinfo(3)."""

    _fields_ = [
        *((f"other{i}", ctypes.c_size_t) for i in range(4)),
        ("mapped", ctypes.c_size_t),
        *((f"other{i}", ctypes.c_size_t) for i in range(4, 6)),
        ("used", ctypes.c_size_t),
        *((f"other{i}", ctypes.c_size_t) for i in range(6, 8)),
    ]


def allocated_bytes() -> int:
    """What glibc's `malloc` has handed out and not got back."""
    usage = ctypes.CDLL(None).mallinfo2
    usage.restype = _Usage
    found = usage()
    return int(found.used + found.mapped)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="counts with mallinfo2 of glibc 2.33"
)
@pytest.mark.parametrize("vectorised", [False, True])
def test_passes_leave_no_memory_behind(vectorised: bool) -> None:
    def compile_often() -> int:
        before = allocated_bytes()
        for _ in range(5):
            compile_module(SOURCE, host_target(), Form.OBJECT, vectorised=vectorised)
        return allocated_bytes() - before

    compile_often()  # what is made once
    assert compile_often() < 100_000
