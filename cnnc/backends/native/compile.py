"""Kernels and programs to LLVM IR, and LLVM IR to machine code."""

from enum import Enum
from functools import cache
from threading import local

import llvmlite.binding as llvm

from cnnc.backends.native import ir, unlocked
from cnnc.backends.native.emit import emit_kernel
from cnnc.backends.native.emit_program import emit_program
from cnnc.backends.native.targets import target_machine
from cnnc.base.target import Target
from cnnc.loop.expr import Space
from cnnc.loop.kernel import Kernel, Program, Store, walk


class Form(Enum):
    """What a module is compiled to; objects are for loading into this process."""

    OBJECT = "object"
    ASSEMBLY = "assembly"
    LLVM = "llvm"


def kernel_source(kernel: Kernel, target: Target) -> str:
    """A kernel alone in a module, as LLVM IR before optimisation."""
    module = _module(kernel.name, target)
    emit_kernel(module, kernel, target)
    return str(module)


def program_source(program: Program, target: Target) -> str:
    """The function that runs all steps, with the kernels declared, as LLVM IR."""
    module = _module(f"{program.name}.steps", target)
    emit_program(module, program, target)
    return str(module)


def emit_assembly(program: Program, kernel: int, target: Target) -> str:
    """One distinct kernel of a program as assembly."""
    made = program.kernels[kernel]
    source, done = kernel_source(made, target), is_vectorised(made, target)
    return compile_module(source, target, Form.ASSEMBLY, vectorised=done).decode()


def emit_llvm(program: Program, kernel: int, target: Target, *, optimise: bool = False) -> str:
    """One distinct kernel of a program as LLVM IR, before or after LLVM's own passes."""
    made = program.kernels[kernel]
    source, done = kernel_source(made, target), is_vectorised(made, target)
    if not optimise:
        return source
    return compile_module(source, target, Form.LLVM, vectorised=done).decode()


def is_vectorised(kernel: Kernel, target: Target) -> bool:
    """Whether LLVM's vectoriser has nothing to do: all that is written to memory are vectors.

    Of x86-64 alone: without what comes behind it, a tile of strided depthwise convolutions does
    not fit AArch64's registers.
    """
    if not target.triple.startswith("x86_64"):
        return False
    stores = (stmt for stmt in walk(kernel.body) if isinstance(stmt, Store))
    return all(s.index[0].lanes > 1 for s in stores if s.buffer.space is not Space.REGISTER)


def compile_module(source: str, target: Target, form: Form, *, vectorised: bool = False) -> bytes:
    """One module, optimised, in an LLVM context of its own: threads may do this side by side.

    Where all is `vectorised`, LLVM does not look for vectors, nor clean up after itself, to save
    time. Raises RuntimeError with LLVM's message if the module is invalid.
    """
    machine = _MACHINES.find(target, jit=form is Form.OBJECT)
    context = llvm.create_context()
    module = llvm.parse_assembly(source, context)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2 if target.is_small else 3)
    # The schedule has unrolled what is worth it, counting registers; LLVM would not count.
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    if vectorised:
        unlocked.run_function_passes(builder.getFunctionPassManager(), module, builder)
    else:
        unlocked.run_passes(builder.getModulePassManager(), module, builder)
    if form is Form.LLVM:
        return str(module).encode()
    return unlocked.emit(machine, module, assembly=form is Form.ASSEMBLY)


def _module(name: str, target: Target) -> ir.Module:
    module = ir.Module(name=name)
    module.triple = target.triple
    module.data_layout = _data_layout(target)
    return module


@cache
def _data_layout(target: Target) -> str:
    return str(target_machine(target, jit=False).target_data)


class _Machines(local):
    """One machine for each thread: it keeps what it finds out about a processor's features."""

    def __init__(self) -> None:
        self._last: tuple[Target, bool, llvm.TargetMachine] | None = None

    def find(self, target: Target, *, jit: bool) -> llvm.TargetMachine:
        """That of the last call, if it is the same."""
        if self._last is None or self._last[:2] != (target, jit):
            self._last = (target, jit, target_machine(target, jit=jit))
        return self._last[2]


_MACHINES = _Machines()
