"""LLVM's two long calls without llvmlite's lock, and without leaving what passes remember.

llvmlite lets one thread at a time into LLVM. LLVM itself asks only that threads do not share a
context, so optimising and emitting modules of separate contexts may run side by side. The calls
here go to the same library functions without taking the lock, and through llvmlite as usual where
its internals have changed.
"""

from collections.abc import Callable
from ctypes import string_at

import llvmlite.binding as llvm
from llvmlite.binding import ffi, newpassmanagers


def run_passes(
    manager: llvm.ModulePassManager, module: llvm.ModuleRef, builder: llvm.PassBuilder
) -> None:
    """Optimise the module, whose context no other thread uses; the manager is gone then."""
    _bare("LLVMPY_RunNewModulePassManager")(manager, module, builder)
    _dispose(manager)


def run_function_passes(
    manager: llvm.FunctionPassManager, module: llvm.ModuleRef, builder: llvm.PassBuilder
) -> None:
    """Optimise each function of the module on its own; the manager is gone then."""
    for function in module.functions:
        if not function.is_declaration:
            _bare("LLVMPY_RunNewFunctionPassManager")(manager, function, builder)
    _dispose(manager)


def emit(machine: llvm.TargetMachine, module: llvm.ModuleRef, *, assembly: bool) -> bytes:
    """Machine code of the module as an object file, or as text; RuntimeError if LLVM cannot."""
    with ffi.OutputString() as message:
        emit_to_memory = _bare("LLVMPY_TargetMachineEmitToMemory")
        memory = emit_to_memory(machine, module, int(not assembly), message)
        if not memory:
            raise RuntimeError(str(message))
    try:
        start = ffi.lib.LLVMPY_GetBufferStart(memory)
        return string_at(start, ffi.lib.LLVMPY_GetBufferSize(memory))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


def _dispose(manager: llvm.ModulePassManager | llvm.FunctionPassManager) -> None:
    """Free the passes and what they hold, up to megabytes each time.

    llvmlite means to, but the order of its classes' bases hides the method that does.
    """
    if dispose := getattr(newpassmanagers.NewPassManager, "_dispose", None):
        dispose(manager)
        manager.detach()


def _bare(name: str) -> Callable[..., int]:
    function = getattr(ffi.lib, name)
    bare: Callable[..., int] = getattr(function, "_cfn", function)
    return bare
