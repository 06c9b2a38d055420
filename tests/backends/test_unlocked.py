"""Compiling side by side does not wait for llvmlite's lock."""

from llvmlite.binding import ffi

from cnnc.backends.native.unlocked import _bare


def test_the_long_calls_are_those_behind_the_lock() -> None:
    """Fails where llvmlite's internals change: then compiling works, one module after the other."""
    passes = ("LLVMPY_RunNewModulePassManager", "LLVMPY_RunNewFunctionPassManager")
    for name in (*passes, "LLVMPY_TargetMachineEmitToMemory"):
        assert _bare(name) is not getattr(ffi.lib, name)
