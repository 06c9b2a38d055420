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


def test_nothing_is_computed_twice_in_a_block() -> None:
    """But in each block anew, as not all of them are run."""
    module = ir.Module("sums")
    word = ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [word, word]), "sums")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    a, b = function.args
    assert builder.add(a, b) is builder.add(a, b)
    assert builder.add(a, b) is not builder.add(b, a)
    assert builder.add(a, b) is not builder.add(a, b, flags=("nsw",))
    before = builder.mul(a, b)
    with builder.if_then(builder.icmp_signed("<", a, b)):
        assert builder.mul(a, b) is not before
    assert builder.alloca(word) is not builder.alloca(word)


def test_what_is_stored_is_loaded_even_at_an_address_of_another_name() -> None:
    """Loads are the same until something is stored, or a function called that may store."""
    module = ir.Module("memory")
    pointer, number = ir.PointerType(), ir.IntType(64)
    kind = ir.FunctionType(ir.VoidType(), [pointer, pointer])
    other = ir.Function(module, kind, "other")
    function = ir.Function(module, kind, "add")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    one, same = function.args
    first = builder.load(one, typ=number)
    assert builder.load(one, typ=number) is first
    assert builder.load(one, typ=number, align=4) is not first
    builder.store(builder.add(first, number(1)), same)
    second = builder.load(one, typ=number)
    builder.store(builder.add(second, second), same)
    builder.ret_void()
    ir.IRBuilder(other.append_basic_block("entry")).ret_void()
    engine = jit_compile(str(module), host_target())
    room = ctypes.c_int64(20)
    address = engine.get_function_address("add")
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)(*[ctypes.addressof(room)] * 2)
    assert room.value == 42

    third = builder.load(one, typ=number)
    assert third is not second
    builder.call(other, [one, same])
    assert builder.load(one, typ=number) is not third


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
