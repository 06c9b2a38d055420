"""The C interface of a network: names, types and constants that every form of output shares.

For a net `digits` with an input `image` and an output `prob`, all in float32:

    int digits_run(const digits_weights *weights, void *arena, const float *image, float *prob);
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum
from hashlib import sha256
from itertools import accumulate
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.errors import fail
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.loop.kernel import Kernel, Origin, Port, Program, align
from cnnc.loop.text import print_program

VERSION = 1
"""Raised whenever a call or a file of weights changes its meaning."""
MAGIC = b"CNNCWTS1"
HEAD_BYTES = 64
"""Bytes of weights before the first constant: MAGIC, hash, size of all with the head, zeros."""

C_TYPES = {
    DType.F32: "float",
    DType.F64: "double",
    DType.I32: "int32_t",
    DType.I64: "int64_t",
    DType.U8: "uint8_t",
    DType.BOOL: "uint8_t",
}
"""What C calls an element; a truth value is a byte, 0 or 1."""

_ARGUMENTS = ("weights", "arena", "samples", "thread", "threads", "barrier", "context")
_CONSTANTS = ("stack", "batch", "macs", "hash", "abi", "has", "wrong", "pool", "job", "status")
_NAMES = """
assert complex eof errno i infinity int8_t int16_t int32_t int64_t intmax_t intptr_t linux
max_align_t nan null offsetof ptrdiff_t size_t ssize_t stderr stdin stdout uint8_t uint16_t uint32_t
uint64_c uint64_t uintmax_t uintptr_t unix wchar_t
"""
"""Types and macros of the libraries' headers, and of compilers."""
_WORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept
const const_cast consteval constexpr constinit continue co_await co_return co_yield decltype default
delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline
int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
public register reinterpret_cast requires restrict return short signed sizeof static static_assert
static_cast struct switch template this thread_local throw true try typedef typeid typename typeof
union unsigned using virtual void volatile wchar_t while xor xor_eq main
"""
_HEADERS = """
arm_neon assert complex ctype errno fenv float immintrin inttypes iso646 limits locale math pthread
setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath
threads time uchar unistd wchar wctype
"""
HEADERS = frozenset(_HEADERS.split())
"""Headers that one of a network's name would hide."""
TAKEN = frozenset({*_ARGUMENTS, *_CONSTANTS, *_WORDS.split(), *_NAMES.split()})
"""Words that no input or output can be called in C and C++."""


class Status(IntEnum):
    """What a function returns."""

    OK = 0
    NULL_POINTER = 1
    MISALIGNED = 2
    WRONG_WEIGHTS = 3
    WRONG_SIZE = 4
    WRONG_SAMPLES = 5
    WRONG_THREADS = 6
    WRONG_PROCESSOR = 7

    @property
    def text(self) -> str:
        """What `NAME_strerror` says."""
        return _TEXTS[self]


_TEXTS = {
    Status.OK: "all is well",
    Status.NULL_POINTER: "a pointer is NULL",
    Status.MISALIGNED: "weights or arena are not aligned to NAME_ALIGNMENT bytes",
    Status.WRONG_WEIGHTS: "the weights are not those of this network, or of another version of it",
    Status.WRONG_SIZE: "the weights have another size than NAME_WEIGHTS_BYTES",
    Status.WRONG_SAMPLES: "the number of samples is not from 1 to NAME_BATCH",
    Status.WRONG_THREADS: "threads must be at least 1, thread from 0 to threads - 1, and more than "
    "one need a barrier",
    Status.WRONG_PROCESSOR: "this processor has not even the lowest level that the code is for",
}
UNKNOWN_STATUS = "an unknown status"


@record
class Argument:
    """An input or output: its name in the network, its name in C, its row-major shape, its type."""

    name: str
    c_name: str
    shape: Shape
    dtype: DType
    is_output: bool

    @property
    def size(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    @property
    def strides(self) -> Shape:
        """Elements from one index of an axis to the next."""
        return tuple(prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))

    @property
    def c_type(self) -> str:
        """What C calls one element."""
        return C_TYPES[self.dtype]

    @property
    def declaration(self) -> str:
        """It as a parameter."""
        const = "" if self.is_output else "const "
        return f"{const}{self.c_type} *{self.c_name}"


@record
class Abi:
    """The interface of one network.

    Sizes are in bytes. `name` begins every symbol; `hash` stands for shapes, the layout of the
    weights and VERSION; `arena_bytes` is what one thread needs, each further one takes
    `scratch_bytes` more, and those of the first thread begin at `scratch_offset`. `payloads` says
    where the weights of each version of the code begin, from the start of the head. `most_samples`
    is given where a call says how many samples it brings.
    """

    name: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    hash: int
    weights_bytes: int
    payloads: tuple[int, ...]
    arena_bytes: int
    scratch_bytes: int
    scratch_offset: int
    most_samples: int | None

    @staticmethod
    def of(program: Program, name: str | None = None) -> "Abi":
        """That of a program; UserError for a name that no symbol can begin with."""
        return Abi.of_versions((program,), name)

    @staticmethod
    def of_versions(programs: Sequence[Program], name: str | None = None) -> "Abi":
        """That of programs for several processors which compute the same network."""
        first = programs[0]
        inputs, outputs = _arguments(first.inputs, first.outputs)
        own = max(program.own_bytes for program in programs)
        shared = max(program.shared_bytes for program in programs)
        sizes = [align(program.weights_bytes) for program in programs]
        return Abi(
            name=c_prefix(first.name if name is None else name),
            inputs=inputs,
            outputs=outputs,
            hash=_hash(programs),
            weights_bytes=HEAD_BYTES + sum(sizes),
            payloads=tuple(accumulate(sizes[:-1], initial=HEAD_BYTES)),
            # never none, as an array of no bytes is no C
            arena_bytes=max(64, shared + own),
            scratch_bytes=own,
            scratch_offset=shared,
            most_samples=first.most_samples,
        )

    @property
    def macro(self) -> str:
        """What begins every constant."""
        return self.name.upper()

    @property
    def ends(self) -> tuple[Argument, ...]:
        """Inputs, then outputs."""
        return (*self.inputs, *self.outputs)

    @property
    def run_parameters(self) -> tuple[str, ...]:
        """The parameters of `NAME_run`, as C declares them."""
        samples = ["size_t samples"] if self.most_samples is not None else []
        ends = [end.declaration for end in self.ends]
        return (f"const {self.name}_weights *weights", "void *arena", *samples, *ends)

    @property
    def part_parameters(self) -> tuple[str, ...]:
        """The parameters of `NAME_run_part`, as C declares them."""
        threads = ("int thread", "int threads", f"{self.name}_barrier *barrier", "void *context")
        return (*self.run_parameters, *threads)

    def status(self, status: Status) -> str:
        """What C calls a status."""
        return f"{self.macro}_{status.name}"

    def strerror(self, status: Status) -> str:
        """What `NAME_strerror` says of a status."""
        return status.text.replace("NAME", self.macro)

    @property
    def head(self) -> bytes:
        """The first HEAD_BYTES of the weights."""
        numbers = self.hash.to_bytes(8, "little") + self.weights_bytes.to_bytes(8, "little")
        return (MAGIC + numbers).ljust(HEAD_BYTES, b"\0")


def fill_weights(programs: Sequence[Program], abi: Abi, memory: NDArray[np.uint8]) -> None:
    """Write the head and the constants of all programs into `abi.weights_bytes` zeros."""
    memory[:HEAD_BYTES] = np.frombuffer(abi.head, np.uint8)
    for start, program in zip(abi.payloads, programs, strict=True):
        for blob in program.weights:
            blob.contents.pack_into(memory[start + blob.offset : start + blob.end])


def c_prefix(name: str) -> str:
    """The name, if symbols can begin with it; UserError otherwise."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name) or name.lower() in HEADERS:
        raise fail(
            "E0803",
            f"no output in C can be called `{name}`",
            help="`--name` takes letters, digits and `_`, at most 60, a letter first, "
            "and no name of C's own headers",
        )
    return name


def _arguments(
    inputs: Sequence[Port], outputs: Sequence[Port]
) -> tuple[tuple[Argument, ...], tuple[Argument, ...]]:
    """Names in C differ from each other, also in capitals, as constants are named after them."""
    taken, found = set(TAKEN), list[Argument]()
    for position, port in enumerate((*inputs, *outputs)):
        c_name = re.sub(r"[^A-Za-z0-9_]", "_", port.name)
        if not c_name[0].isalpha():
            c_name = f"x{c_name}"
        while c_name.lower() in taken:
            c_name += "_"
        taken.add(c_name.lower())
        is_output = position >= len(inputs)
        found.append(Argument(port.name, c_name, port.shape, port.dtype, is_output))
    return tuple(found[: len(inputs)]), tuple(found[len(inputs) :])


def _hash(programs: Sequence[Program]) -> int:
    """Weights fit where ends, steps, loops and the constants' places are the same."""
    bare = (replace(each, kernels=tuple(map(_nameless, each.kernels))) for each in programs)
    text = "\n".join([f"abi {VERSION}", *map(print_program, bare)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "little")


def _nameless(kernel: Kernel) -> Kernel:
    """A kernel as its loops say, wherever in a text it comes from, and whoever runs them."""
    return replace(kernel.in_parts(), origin=Origin("", ""))
