"""The native backend: programs as machine code in this process."""

import ctypes
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.base import Array
from cnnc.backends.native.compile import compile_modules, kernel_source, program_source
from cnnc.backends.native.emit_program import ENTRY
from cnnc.backends.native.engine import function, load_objects
from cnnc.backends.native.pool import shared_pool
from cnnc.base.target import Target
from cnnc.loop.kernel import ALIGNMENT, Program

Bytes = NDArray[np.uint8]


class NativeExecutable:
    """A program as machine code. Each running call has an arena of its own."""

    def __init__(self, program: Program, target: Target, threads: int) -> None:
        self.program = program
        self.threads = threads
        kernels = (kernel_source(kernel, target) for kernel in program.kernels)
        sources = chain(kernels, [program_source(program, target)])
        self._engine = load_objects(compile_modules(sources, target), target)
        self.address = self._engine.address(ENTRY)
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._kernels = [
            function(
                self._engine.address(kernel.name), *[pointer] * len(kernel.params), number, number
            )
            for kernel in program.kernels
        ]
        self._weights = aligned_bytes(program.weights_bytes)
        for blob in program.weights:
            self._weights[blob.offset : blob.offset + len(blob.data)] = np.frombuffer(
                blob.data, np.uint8
            )
        self._pool = shared_pool(threads)
        self._weights_address = address_of(self._weights)
        self._contexts: list[_Context] = []

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See Executable."""
        context = self._take_context()
        for position, array in enumerate(inputs):
            context.inputs[position] = address_of(array)
        for position, array in enumerate(outputs):
            context.outputs[position] = address_of(array)
        self._pool.run(self.address, self._weights_address, *context.addresses)
        self._contexts.append(context)

    def run_kernel(self, kernel: int, buffers: Sequence[Array]) -> None:
        """See Executable: on the calling thread alone."""
        self.bind_kernel(kernel, buffers)()

    def bind_kernel(self, kernel: int, buffers: Sequence[Array]) -> Callable[[], None]:
        """See Executable: on the calling thread alone."""
        function, kept = self._kernels[kernel], tuple(buffers)
        addresses = [ctypes.c_void_p(buffer.ctypes.data) for buffer in kept]
        only, all_ = ctypes.c_int64(0), ctypes.c_int64(1)

        def call(_alive: tuple[Array, ...] = kept) -> None:
            function(*addresses, only, all_)

        return call

    def _take_context(self) -> "_Context":
        # Taking from and adding to a list are atomic: no lock is needed.
        try:
            return self._contexts.pop()
        except IndexError:
            return _Context(self.program)


class _Context:
    """Memory of one running call."""

    def __init__(self, program: Program) -> None:
        self.arena = aligned_bytes(program.arena_bytes)
        self.inputs = (ctypes.c_void_p * max(1, len(program.inputs)))()
        self.outputs = (ctypes.c_void_p * max(1, len(program.outputs)))()
        tables = (ctypes.addressof(self.inputs), ctypes.addressof(self.outputs))
        self.addresses = (address_of(self.arena), *tables)


class NativeBackend:
    """See Backend."""

    name = "native"

    def compile(self, program: Program, target: Target, threads: int) -> NativeExecutable:
        """See Backend."""
        return NativeExecutable(program, target, threads)


BACKEND = NativeBackend()


def address_of(array: Array) -> int:
    """Where the array's first element lies; half the time of `array.ctypes.data`."""
    address: int = array.__array_interface__["data"][0]
    return address


def aligned_bytes(size: int) -> Bytes:
    """Zeroed memory that starts at a multiple of ALIGNMENT."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]
