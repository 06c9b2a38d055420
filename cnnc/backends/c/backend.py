"""The C backend: programs through C99 and the system's compiler."""

import ctypes
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.abi import Abi, Status
from cnnc.backends.base import Array, Runner
from cnnc.backends.c.compiler import compile_library, find_compiler, unusable
from cnnc.backends.c.emit_source import emit_source, kernel_call, weights_blob
from cnnc.backends.c.flags import machine_flags
from cnnc.base.errors import InternalError, fail
from cnnc.base.record import record
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.base.templates import fill
from cnnc.loop.kernel import ALIGNMENT, Program

NAME = "net"
_LANGUAGE = ("-std=c99", "-ffp-contract=off")
_HARNESS = ("harness", "harness_part", "harness_run")


@record
class KernelView:
    """What the template may see of a kernel: its function, and how it is called."""

    name: str
    arguments: str


@record
class HarnessView:
    """What the templates of the harness may see."""

    source: str
    name: str
    samples: bool
    ends: int
    kernels: tuple[KernelView, ...]


class CExecutable(Runner):
    """A program as a library of C's compiler. Each running call has an arena of its own."""

    def __init__(self, program: Program, abi: Abi, code: bytes, threads: int) -> None:
        self.program = program
        self.threads = threads if program.is_shared else 1
        self._library = _load(code)
        self._weights = aligned_bytes(abi.weights_bytes)
        self._weights[:] = np.frombuffer(weights_blob(program, abi), np.uint8)
        self._arena_bytes = abi.arena_bytes + (self.threads - 1) * abi.scratch_bytes
        self._contexts: list[_Context] = []

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See Runner."""
        # Taking from and adding to a list are atomic: no lock is needed.
        try:
            context = self._contexts.pop()
        except IndexError:
            context = _Context(self._library, self._weights, self._arena_bytes, self.program)
        for position, array in enumerate((*inputs, *outputs)):
            context.ends[position] = array.__array_interface__["data"][0]
        samples = len(inputs[0]) if self.program.most_samples is not None else 0
        if status := context.run(samples, self.threads):
            raise _failure(status, self.threads)
        self._contexts.append(context)

    def run_kernel(self, kernel: int, buffers: Sequence[Array]) -> None:
        """See Executable: on the calling thread alone."""
        self.bind_kernel(kernel, buffers)()

    def bind_kernel(self, kernel: int, buffers: Sequence[Array]) -> Callable[[], None]:
        """See Executable: on the calling thread alone."""
        scratch = self.program.kernels[kernel].scratch_bytes
        kept = (*buffers, *[aligned_bytes(scratch)] * bool(scratch))
        table, function = _table(kept), getattr(self._library, f"cnnc_kernel_{kernel}")
        samples = ctypes.c_ssize_t(self.program.most_samples or 0)

        def call(_alive: tuple[Array, ...] = kept) -> None:
            function(table, samples)

        return call


class _Context:
    """Memory of one running call, and the call itself, of the number of samples and of threads."""

    __slots__ = ("arena", "ends", "run")

    def __init__(
        self,
        library: ctypes.CDLL,
        weights: NDArray[np.uint8],
        arena_bytes: int,
        program: Program,
    ) -> None:
        self.arena = aligned_bytes(arena_bytes)
        self.ends = (ctypes.c_void_p * (len(program.inputs) + len(program.outputs)))()
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        function = library.cnnc_run
        function.argtypes = (pointer, pointer, pointer, size, ctypes.c_int)
        first = pointer(weights.ctypes.data), pointer(self.arena.ctypes.data)
        self.run = partial(function, *first, self.ends)


def _failure(status: int, threads: int) -> Exception:
    if status > 0:
        return InternalError(f"the network refuses to run: {Status(status).text}", stage="c")
    return fail(
        "E0803", f"the system refuses to start {threads} threads", help="ask for fewer threads"
    )


class CBackend:
    """See Backend; `level` is how much the compiler optimises."""

    name = "c"

    def __init__(self, level: int = 2) -> None:
        self.level = level

    def flags(self, target: Target) -> tuple[str, ...]:
        """The compiler's options."""
        return (f"-O{self.level}", *_LANGUAGE, *machine_flags(target))

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> CExecutable:
        """See Backend."""
        abi = Abi.of(program, NAME)
        kernels = tuple(
            KernelView(*kernel_call(program, number, abi)) for number in range(len(program.kernels))
        )
        ends = len(abi.ends)
        samples = program.most_samples is not None
        view = HarnessView(f"{NAME}.c", NAME, samples, ends, kernels)
        files = {
            f"{NAME}.c": emit_source(program, target, abi),
            "harness.c": "\n".join(fill(f"c/{name}.c", view) for name in _HARNESS),
        }
        code = compile_library(files, "harness.c", self.flags(target), store)
        return CExecutable(program, abi, code, threads)


BACKEND = CBackend()


def _load(code: bytes) -> ctypes.CDLL:
    """The library, from a file that is gone once it is loaded."""
    handle, name = tempfile.mkstemp(prefix="cnnc-", suffix=".so")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(code)
        return ctypes.CDLL(name)
    except OSError as error:
        why = "made a library that cannot be loaded here"
        raise unusable(find_compiler()[0], why, (str(error),)) from None
    finally:
        os.unlink(name)


def _table(arrays: Sequence[Array]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """Zeroed memory that starts at a multiple of ALIGNMENT; some even where none is needed."""
    size = max(size, 1)
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]
