"""Statements, kernels and programs: everything a backend sees."""

from collections.abc import Callable, Iterator
from dataclasses import field, replace
from enum import Enum
from operator import is_
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout, Shape
from cnnc.base.record import record
from cnnc.loop.expr import Buffer, Expr, Space

if TYPE_CHECKING:
    from cnnc.loop.task import Task


class Kind(Enum):
    """How a loop runs."""

    SERIAL = "serial"
    PARALLEL = "parallel"
    UNROLLED = "unrolled"
    VECTOR = "vector"


@record
class For:
    """Run the body for var = 0 … extent - 1.

    `reduces` marks a loop that accumulates: its iterations depend on each other. All other loops
    may run in any order. `samples` marks an outermost loop over the samples of a batch: a run may
    be asked for fewer than `extent`, and then the others are left alone. A nest of parallel loops
    that is `turned` gives its first iterations to the last thread. One with a `grain` may be handed
    out as threads come: each begins with a part of the iterations of its own, and takes from those
    of others afterwards, so many at a time at least.
    """

    var: str
    extent: int
    body: tuple["Stmt", ...]
    kind: Kind = Kind.SERIAL
    reduces: bool = False
    samples: bool = False
    turned: bool = False
    grain: int = 0

    def with_body(self, body: tuple["Stmt", ...]) -> "For":
        """The same loop over other statements; itself where they are its own."""
        if len(body) == len(self.body) and all(map(is_, body, self.body)):
            return self
        return replace(self, body=body)


@record
class Alloc:
    """A register array or scratch memory, alive to the end of the enclosing body.

    Scratch memory belongs to one thread and starts out undefined in every iteration.
    """

    buffer: Buffer


@record
class Let:
    """A name for a value, alive to the end of the enclosing body."""

    name: str
    value: Expr


@record
class Store:
    """Write one element, or a vector of neighbours once the kernel is flat."""

    buffer: Buffer
    index: tuple[Expr, ...]
    value: Expr


@record
class Prefetch:
    """A hint that an element will soon be read. The index may lie outside the buffer.

    With `later` it comes into the second-level cache, where it waits for longer.
    """

    buffer: Buffer
    index: tuple[Expr, ...]
    later: bool = False


Stmt = For | Alloc | Let | Store | Prefetch
Body = tuple[Stmt, ...]


@record
class Origin:
    """Where a kernel comes from, as plain data.

    `op` is the operator's text, `layer` the instance path, `place` file:line:column, `macs` the
    multiply-accumulates of one run, `algorithm` the schedule's name.
    """

    op: str
    layer: str
    place: str = ""
    macs: int = 0
    algorithm: str = ""


@record
class Kernel:
    """Loops over buffers. `params` are in calling order; `outputs` names those that are written.

    `task` says the same as plain data, where a backend may have code of its own for it.
    """

    name: str
    params: tuple[Buffer, ...]
    outputs: tuple[str, ...]
    body: Body
    origin: Origin = field(default_factory=lambda: Origin("", ""))
    task: "Task | None" = None

    @property
    def takes_samples(self) -> bool:
        """Whether a run may be asked for fewer samples than the loops have room for."""
        return any(isinstance(stmt, For) and stmt.samples for stmt in self.body)

    @property
    def is_handed_out(self) -> bool:
        """Whether threads take iterations of a nest from each other."""
        return any(isinstance(stmt, For) and stmt.grain for stmt in self.body)

    @property
    def scratch_bytes(self) -> int:
        """Scratch memory that each thread needs: that of the nest that needs most."""
        return max((offsets[None] for offsets in map(scratch_offsets, self.body)), default=0)

    def in_parts(self) -> "Kernel":
        """The same kernel with no nest handed out: each thread keeps its part of the iterations."""
        nests = (replace(s, grain=0) if isinstance(s, For) else s for s in self.body)
        return self.with_body(tuple(nests))

    def with_body(self, body: Body) -> "Kernel":
        """The same kernel running other statements."""
        return replace(self, body=body)


def parallel_loops(nest: Stmt) -> list[For]:
    """The parallel loops that a nest begins with, each the whole body of the one before."""
    loops: list[For] = []
    body: Body = (nest,)
    while len(body) == 1 and isinstance(body[0], For) and body[0].kind is Kind.PARALLEL:
        loops.append(body[0])
        body = body[0].body
    return loops


class Region(Enum):
    """Which memory a kernel's argument points into."""

    INPUT = "input"
    OUTPUT = "output"
    WEIGHTS = "weights"
    ARENA = "arena"


@record
class Place:
    """A byte offset in a region; `index` says which input or output."""

    region: Region
    offset: int = 0
    index: int = 0


@record
class Step:
    """One kernel call. `barrier` asks all threads to wait before it for what came earlier.

    If it is not `shared`, the first thread runs it alone, and others go on to the next barrier.
    """

    kernel: int
    places: tuple[Place, ...]
    barrier: bool
    layer: str
    shared: bool = True


@record
class Port:
    """A network input or output as the caller sees it: row-major."""

    name: str
    shape: Shape
    dtype: DType


class Contents(Protocol):
    """The bytes of a constant, made where they shall lie: networks have more than is held twice."""

    @property
    def bytes(self) -> int:
        """How many there are."""
        ...

    def pack_into(self, memory: NDArray[np.uint8]) -> None:
        """Write them into so many bytes that are zero."""
        ...


@record
class Blob:
    """A constant in the weights region: packed bytes at an offset."""

    name: str
    offset: int
    contents: Contents = field(repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Blob):
            return NotImplemented
        same = (self.name, self.offset, self.end) == (other.name, other.offset, other.end)
        return same and (self.contents is other.contents or self.data == other.data)

    def __hash__(self) -> int:
        return hash((self.name, self.offset))

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.contents.bytes

    @property
    def data(self) -> bytes:
        """The packed bytes, made anew."""
        memory = np.zeros(self.contents.bytes, np.uint8)
        self.contents.pack_into(memory)
        return memory.tobytes()


@record
class Program:
    """A whole network: distinct kernels, and the steps that call them.

    Sizes are in bytes. `weights` are sorted by offset; every offset is a multiple of ALIGNMENT.
    `arena_bound` is what is alive in the step that needs most: no arena for these steps is smaller.
    One that `is_short` is over before a thread that sleeps would be awake.

    Where samples are `apart`, steps, arena and `arena_bound` are those of a single sample: steps
    are run for each of the samples that inputs and outputs hold, and every thread has an arena.
    If it `shares_samples`, threads take a sample each, and share what is left over. One that
    `is_range` runs any number of samples.
    """

    name: str
    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: tuple[Blob, ...]
    weights_bytes: int
    arena_bytes: int
    arena_bound: int = 0
    is_short: bool = False
    apart: bool = False
    shares_samples: bool = False
    is_range: bool = False

    @property
    def repeats(self) -> int:
        """How often the steps are run, at most."""
        return self.inputs[0].shape[0] if self.apart else 1

    @property
    def shared_bytes(self) -> int:
        """Memory that all threads share."""
        return 0 if self.apart else align(self.arena_bytes)

    @property
    def own_bytes(self) -> int:
        """Memory that each thread needs: scratch, behind an arena if it has one of its own."""
        return align(self.arena_bytes) - self.shared_bytes + align(self.scratch_bytes)

    @property
    def scratch_bytes(self) -> int:
        """Memory that kernels need for each thread."""
        return max((kernel.scratch_bytes for kernel in self.kernels), default=0)

    @property
    def is_shared(self) -> bool:
        """Whether more than one thread has something to do."""
        return self.shares_samples or self.shares_steps

    @property
    def shares_steps(self) -> bool:
        """Whether threads share steps."""
        return any(step.shared for step in self.steps)

    @property
    def most_samples(self) -> int | None:
        """The largest number of samples, where a run may take fewer; otherwise None."""
        if self.is_range:
            return self.inputs[0].shape[0]
        return None


ALIGNMENT = 64


def align(offset: int) -> int:
    """The offset rounded up to ALIGNMENT."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def scratch_offsets(nest: Stmt) -> dict[str | None, int]:
    """Where each scratch buffer of a nest begins in the thread's scratch memory, in bytes.

    Under None, how much they take together.
    """
    offsets: dict[str | None, int] = {}
    end = 0
    for stmt in walk((nest,)):
        if isinstance(stmt, Alloc) and stmt.buffer.space is Space.SCRATCH:
            offsets[stmt.buffer.name] = end
            end += align(stmt.buffer.size * stmt.buffer.dtype.bytes)
    offsets[None] = end
    return offsets


def register(name: str, shape: Shape, dtype: DType) -> Buffer:
    """A register array."""
    return Buffer(name, shape, dtype, Layout.plain(len(shape)), Space.REGISTER)


def walk(body: Body) -> Iterator[Stmt]:
    """Every statement, outer ones first."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, For):
            yield from walk(stmt.body)


def map_expressions(body: Body, change: Callable[[Expr], Expr]) -> Body:
    """The same statements over changed expressions."""
    return tuple(_map_statement(stmt, change) for stmt in body)


def _map_statement(stmt: Stmt, change: Callable[[Expr], Expr]) -> Stmt:
    match stmt:
        case For():
            return stmt.with_body(map_expressions(stmt.body, change))
        case Let(name, value):
            return Let(name, change(value))
        case Store(buffer, index, value):
            return Store(buffer, tuple(change(part) for part in index), change(value))
        case Prefetch(buffer, index, later):
            return Prefetch(buffer, tuple(change(part) for part in index), later)
    return stmt


def expressions(body: Body) -> Iterator[Expr]:
    """The root of every expression in the statements."""
    for stmt in walk(body):
        match stmt:
            case Let(_, value):
                yield value
            case Store(_, index, value):
                yield from index
                yield value
            case Prefetch(_, index):
                yield from index
