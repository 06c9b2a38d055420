"""LLVM IR as text, written line by line: the part of the language that kernels need.

The names are those of `llvmlite.ir`. That library builds an object for every instruction and
prints them at the end, which took most of the time of compiling; here a value is its type and its
name, and the line is written at once. LLVM's own verifier checks what comes out.
"""

from cnnc.backends.native.ir.builder import IRBuilder
from cnnc.backends.native.ir.module import Block, Function, Module, Phi
from cnnc.backends.native.ir.types import (
    ArrayType,
    Constant,
    DoubleType,
    FloatType,
    FunctionType,
    IntType,
    PointerType,
    Type,
    Undefined,
    Value,
    VectorType,
    VoidType,
    constant,
)

__all__ = [
    "ArrayType",
    "Block",
    "Constant",
    "DoubleType",
    "FloatType",
    "Function",
    "FunctionType",
    "IRBuilder",
    "IntType",
    "Module",
    "Phi",
    "PointerType",
    "Type",
    "Undefined",
    "Value",
    "VectorType",
    "VoidType",
    "constant",
]
