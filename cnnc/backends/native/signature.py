"""What kernels and the runtime are called with."""

from cnnc.backends.native import ir
from cnnc.backends.native.arguments import arguments_of
from cnnc.base.target import Target
from cnnc.loop.kernel import Kernel

POINTER = ir.PointerType()
VOID = ir.VoidType()
BARRIER, TAKE = "cnnc_barrier", "cnnc_take"


def word_of(target: Target) -> ir.IntType:
    """The type of what counts elements."""
    return ir.IntType(target.pointer_bits)


def kernel_type(kernel: Kernel, word: ir.IntType) -> ir.FunctionType:
    """The signature of the kernel's function."""
    buffers = [POINTER] * len(kernel.params)
    behind = [POINTER if argument.is_pointer else word for argument in arguments_of(kernel)]
    return ir.FunctionType(VOID, [*buffers, *behind])


def barrier_type(word: ir.IntType) -> ir.FunctionType:
    """Of `cnnc_barrier(barrier, threads)`."""
    return ir.FunctionType(VOID, [POINTER, word])


def take_type(word: ir.IntType) -> ir.FunctionType:
    """Of `cnnc_take(barrier, taken, thread, threads, total, grain, turned)`."""
    flag = ir.IntType(1)
    return ir.FunctionType(flag, [POINTER, POINTER, word, word, word, word, flag])
