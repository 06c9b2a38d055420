"""Machine code loaded into this process."""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm

from cnnc.backends.native.runtime import runtime
from cnnc.backends.native.targets import target_machine
from cnnc.base.target import Target

ENTRY = "cnnc_net"
"""The function that runs a whole program."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Engine:
    """Loaded object files; their memory lives as long as this does."""

    _engine: llvm.ExecutionEngine

    def __post_init__(self) -> None:
        # The collector frees the parts of a cycle in any order, and LLVM does not survive a context
        # that goes before its engine. This way the engine is no part of a cycle.
        weakref.finalize(self, self._engine.close).atexit = False

    def address(self, symbol: str) -> int:
        """Where a function lies."""
        return int(self._engine.get_function_address(symbol))


def load_objects(objects: Sequence[bytes], target: Target) -> Engine:
    """Object files linked with each other and the runtime."""
    runtime()  # it is found by name from here on
    context = llvm.create_context()
    module = llvm.parse_assembly(f'target triple = "{target.triple}"', context)
    engine = llvm.create_mcjit_compiler(module, target_machine(target, jit=True))
    for data in objects:
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    return Engine(engine)


def function(address: int, *arguments: type) -> Callable[..., None]:
    """A `void` function at an address; calling it releases the interpreter lock."""
    made: Callable[..., None] = ctypes.CFUNCTYPE(None, *arguments)(address)
    return made
