"""What is written as LLVM IR is what LLVM reads."""

import ctypes
import struct

import llvmlite.binding as llvm
import pytest

from cnnc.backends.native import ir
from cnnc.backends.native.host import host_target
from cnnc.backends.native.runtime import jit_compile

NUMBERS = [0.0, -0.0, 1.0, 0.1, -2.5e-45, 1e-40, 3.4028235e38, 1e300, float("inf"), -float("inf")]


def writes(kind: ir.Type, number: float) -> bytes:
    """The bytes LLVM stores for a constant."""
    module = ir.Module("constants")
    signature = ir.FunctionType(ir.VoidType(), [ir.PointerType()])
    function = ir.Function(module, signature, 'store "it"')
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.store(ir.Constant(kind, number), function.args[0])
    builder.ret_void()
    engine = jit_compile(str(module), host_target())
    room = ctypes.create_string_buffer(8)
    address = engine.get_function_address('store "it"')
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(room))
    return room.raw


@pytest.mark.parametrize("number", NUMBERS)
def test_literals_have_the_bits_of_the_number(number: float) -> None:
    """Both floating-point types; what is too large for one is infinite in it."""
    assert writes(ir.DoubleType(), number) == struct.pack("<d", number)
    single = ctypes.c_float(number)
    assert writes(ir.FloatType(), number)[:4] == bytes(single)


def test_nan_is_a_number_too() -> None:
    """Its bits are kept, whatever else."""
    (value,) = struct.unpack("<f", writes(ir.FloatType(), float("nan"))[:4])
    assert value != value


def test_llvm_refuses_what_does_not_fit() -> None:
    """The writer checks nothing: LLVM's reader and verifier do."""
    module = ir.Module("wrong")
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64), ir.FloatType()])
    function = ir.Function(module, kind, "wrong")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.add(*function.args)
    builder.ret_void()
    with pytest.raises(RuntimeError, match="float"):
        llvm.parse_assembly(str(module)).verify()
