"""The native backend: programs as machine code in this process."""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.base import Array
from cnnc.backends.native.arguments import Argument, arguments_of, in_order
from cnnc.backends.native.engine import ENTRY, function, load_objects
from cnnc.backends.native.host import host_target
from cnnc.backends.native.pages import release_freed, release_llvm
from cnnc.backends.native.pool import shared_pool
from cnnc.base.record import record
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.kernel import ALIGNMENT, Blob, Program, align

Bytes = NDArray[np.uint8]
LARGE = 8 << 20
"""Bytes of weights from which on it is worth some milliseconds to hold nothing else, or to share
packing them between threads."""
MOST_PACKERS = 4
"""Threads that pack weights at once: each holds a part of a layer's, or all of what is combined."""
addressof, from_buffer = ctypes.addressof, ctypes.c_char.from_buffer


@record
class Image:
    """A compiled program as plain data: all that is needed to run it.

    `objects` are object files, one of which defines the entry; `arena_bytes`, `inputs` and
    `outputs` say how large the arena is and how many arrays a call takes and fills. Each thread
    has `scratch_bytes` of its own behind the arena. `weights` start at a multiple of ALIGNMENT.
    Unless it `is_shared`, one thread does all the work; if it `is_short`, none is woken for it.
    """

    objects: tuple[bytes, ...]
    weights: Bytes
    arena_bytes: int
    scratch_bytes: int
    is_shared: bool
    is_short: bool
    inputs: int
    outputs: int


class NativeRunner:
    """An image loaded into this process. Each running call has an arena of its own.

    The code of the threads that run it is taken from the store where that has it.
    """

    def __init__(
        self, image: Image, target: Target, threads: int, store: Store | None = None
    ) -> None:
        self.image = image
        self.threads = threads
        self._engine = load_objects(image.objects, target, store)
        self.address = self._engine.address(ENTRY)
        self._pool = shared_pool(threads if image.is_shared else 1)
        self._weights_address = address_of(image.weights)
        if len(image.weights) >= LARGE:
            release_llvm()
        self._contexts: list[_Context] = []

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See Runner."""
        # Taking from and adding to a list are atomic: no lock is needed.
        try:
            context = self._contexts.pop()
        except IndexError:
            context = self._make_context()
        table, position = context.table, 0
        for array in inputs:
            try:  # what `address_of` does, without the call
                table[position] = addressof(from_buffer(array))  # type: ignore[arg-type]
            except (TypeError, ValueError):
                table[position] = address_of(array)
            position += 1
        if position:  # only a program for a range of samples looks at their number
            table[position] = len(array)
        position += 1
        for array in outputs:
            table[position] = addressof(from_buffer(array))  # type: ignore[arg-type]
            position += 1
        context.run()
        self._contexts.append(context)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Callable[[], None]:
        """See Runner: with an arena of its own."""
        context = self._make_context((self, *inputs, *outputs))
        samples = len(inputs[0]) if inputs else 0
        context.table[:] = [*map(address_of, inputs), samples, *map(address_of, outputs)]
        return context.run

    def _make_context(self, alive: object = None) -> "_Context":
        bind = partial(
            self._pool.bind, self.address, self._weights_address, is_short=self.image.is_short
        )
        return _Context(self.image, self.threads, bind, alive)


class NativeExecutable(NativeRunner):
    """A program as machine code, whole and kernel by kernel; it is asked for where a kernel is."""

    def __init__(
        self,
        program: Callable[[], Program],
        image: Image,
        target: Target,
        threads: int,
        store: Store | None = None,
    ) -> None:
        super().__init__(image, target, threads, store)
        self._make_program = program

    @cached_property
    def program(self) -> Program:
        """See Executable."""
        return self._make_program()

    @cached_property
    def _kernels(self) -> list[Callable[..., None]]:
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        return [
            function(
                self._engine.address(kernel.name),
                *[pointer] * len(kernel.params),
                *[pointer if part.is_pointer else number for part in arguments_of(kernel)],
            )
            for kernel in self.program.kernels
        ]

    def run_kernel(self, kernel: int, buffers: Sequence[Array]) -> None:
        """See Executable: on the calling thread alone."""
        self.bind_kernel(kernel, buffers)()

    def bind_kernel(self, kernel: int, buffers: Sequence[Array]) -> Callable[[], None]:
        """See Executable: on the calling thread alone."""
        made, function = self.program.kernels[kernel], self._kernels[kernel]
        scratch = aligned_bytes(made.scratch_bytes)
        behind = {
            Argument.SCRATCH: address_of(scratch),
            Argument.THREAD: 0,
            Argument.THREADS: 1,
            Argument.BARRIER: None,  # a single thread does not look at it
            Argument.SAMPLES: self.program.most_samples,
        }
        arguments = [*map(address_of, buffers), *in_order(made, behind)]

        def call(_alive: tuple[Array, ...] = (*buffers, scratch)) -> None:
            function(*arguments)

        return call


class _Context:
    """Memory of one running call, and the call itself: `run`.

    `table` holds the addresses of inputs, the number of samples, and the addresses of outputs.
    `bind` makes the call of the addresses of the arena, of the inputs and of the outputs; it
    keeps this memory, and what else shall stay `alive`.
    """

    __slots__ = ("arena", "run", "table")

    def __init__(
        self, image: Image, threads: int, bind: Callable[..., Callable[[], None]], alive: object
    ) -> None:
        self.arena = aligned_bytes(align(image.arena_bytes) + threads * image.scratch_bytes)
        self.table = (ctypes.c_int64 * (image.inputs + 1 + image.outputs))()
        inputs = ctypes.addressof(self.table)
        outputs = inputs + 8 * (image.inputs + 1)
        kept = (self.arena, self.table, alive)
        self.run = bind(address_of(self.arena), inputs, outputs, alive=kept)


class NativeBackend:
    """See Backend."""

    name = "native"

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> NativeExecutable:
        """See Backend."""
        # not above: what is compiled already runs without this
        from cnnc.backends.native.objects import compile_program

        image = Image(
            objects=compile_program(program, target, store),
            weights=aligned_bytes(program.weights_bytes),
            arena_bytes=program.shared_bytes,
            scratch_bytes=program.own_bytes,
            is_shared=program.is_shared,
            is_short=program.is_short,
            inputs=len(program.inputs),
            outputs=len(program.outputs),
        )
        made = NativeExecutable(lambda: program, image, target, threads, store)
        # last: what LLVM takes was given back
        pack_weights(program.weights, image.weights)
        return made


BACKEND = NativeBackend()


def pack_weights(blobs: Sequence[Blob], weights: Bytes) -> None:
    """Write constants where they lie in zeroed memory; several at once if that takes long."""

    def pack(blob: Blob) -> None:
        blob.contents.pack_into(weights[blob.offset : blob.end])

    if len(weights) < LARGE:
        for blob in blobs:
            pack(blob)
        return
    with ThreadPoolExecutor(min(MOST_PACKERS, host_target().cores)) as pool:
        for _ in pool.map(pack, blobs):
            pass  # to raise the error of one that has failed
    release_freed()


def address_of(array: Array) -> int:
    """Where the first element of a contiguous array lies."""
    try:  # a fifth of the time of what follows
        return addressof(from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # one that must not be written to, or without elements
        address: int = array.__array_interface__["data"][0]
        return address


def aligned_bytes(size: int) -> Bytes:
    """Zeroed memory that starts at a multiple of ALIGNMENT."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]
