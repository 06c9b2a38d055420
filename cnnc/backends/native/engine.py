"""Machine code loaded into this process."""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm

from cnnc.backends.native.link import link
from cnnc.backends.native.runtime import runtime
from cnnc.base.store import Store
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


def load_objects(objects: Sequence[bytes], target: Target, store: Store | None = None) -> Engine:
    """Object files linked with each other and the runtime, whose code may be in the store."""
    runtime(store)  # it is found by name from here on
    return Engine(link(objects, target))


def function(address: int, *arguments: type) -> Callable[..., None]:
    """A `void` function at an address; calling it releases the interpreter lock."""
    made: Callable[..., None] = ctypes.CFUNCTYPE(None, *arguments)(address)
    return made
