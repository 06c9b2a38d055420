"""How much memory crosses between the threads of a network.

`python benchmarks/crossing.py --threads 2 mobilenet_v2` prints, for every step, the KiB that the
thread with most of them reads after another thread wrote them, writes after another thread wrote
or read them, and reads of weights. Names are those of the zoo, or paths. Nothing is run: which
thread touches which line follows from the loops, as `cnnc.backends` share them.

Caches are taken to be as large as needed. A line that a thread wrote is its own until another
one reads it; then they have it in common until one of them writes it. Steps are run twice, and
the second time counts: what one run leaves behind, the next one finds. Where samples of a batch
are apart, steps are those of a sample that threads share.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from zoo import zoo_file

import cnnc
from cnnc.analysis.indices import evaluate_index
from cnnc.loop.expr import Expr, Load, Ramp, Space, Var
from cnnc.loop.kernel import Body, For, Kernel, Kind, Let, Program, Region, Step, Stmt, Store
from cnnc.loop.rewrite import parts

LINE = 64
"""Bytes of a cache line."""
_NOBODY = -1

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Touched:
    """The elements of each parameter that one thread reads and writes."""

    reads: Mapping[str, Mask]
    writes: Mapping[str, Mask]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one step for each thread: read and written across threads, and of weights."""

    read: tuple[int, ...]
    written: tuple[int, ...]
    weights: tuple[int, ...]


def share(kernel: Kernel, thread: int, threads: int) -> Touched:
    """What a thread touches of a flat kernel's parameters, where conditions hold or not."""
    sizes = {param.name: param.size for param in kernel.params}
    reads = {name: np.zeros(size, np.bool_) for name, size in sizes.items()}
    writes = {name: np.zeros(size, np.bool_) for name, size in sizes.items()}
    for loops, tasks, body in _nests(kernel, thread, threads):
        seen: set[tuple[str, bool, Expr, tuple[str, ...]]] = set()
        for name, stores, index, serial in _accesses(body, {}):
            if (key := (name, stores, index, tuple(serial))) in seen:
                continue
            seen.add(key)
            places = _places(index, loops, tasks, serial)
            mask = (writes if stores else reads)[name]
            mask[places[(places >= 0) & (places < mask.size)]] = True
    return Touched(reads, writes)


def _nests(
    kernel: Kernel, thread: int, threads: int
) -> Iterator[tuple[Sequence[For], Numbers, Body]]:
    """For every nest, its parallel loops, the thread's iterations of them, and what is inside."""
    for stmt in kernel.body:
        loops, body = _parallel(stmt)
        if not loops:
            if thread == 0:
                yield (), np.zeros(1, np.int64), body
            continue
        turn = threads - 1 - thread if loops[0].turned else thread
        total = prod(loop.extent for loop in loops)
        yield loops, np.arange(total * turn // threads, total * (turn + 1) // threads), body


def _parallel(stmt: Stmt) -> tuple[Sequence[For], Body]:
    loops: list[For] = []
    body: Body = (stmt,)
    while len(body) == 1 and isinstance(body[0], For) and body[0].kind is Kind.PARALLEL:
        loops.append(body[0])
        body = body[0].body
    return loops, body


def _accesses(
    body: Body, serial: dict[str, int]
) -> Iterator[tuple[str, bool, Expr, dict[str, int]]]:
    """Parameter, whether it is written, offset, and the extents of the loops around."""
    for stmt in body:
        match stmt:
            case For(var, extent, inner):
                yield from _accesses(inner, {**serial, var: extent})
            case Let(_, value) | Store(_, _, value):
                for part in parts(value):
                    if isinstance(part, Load) and part.buffer.space is Space.MEMORY:
                        yield part.buffer.name, False, part.index[0], serial
        if isinstance(stmt, Store) and stmt.buffer.space is Space.MEMORY:
            yield stmt.buffer.name, True, stmt.index[0], serial


def _places(
    index: Expr, loops: Sequence[For], tasks: Numbers, serial: Mapping[str, int]
) -> Numbers:
    """Every value of an offset: iterations of parallel loops × those of serial ones × lanes."""
    lanes, stride = 1, 1
    if isinstance(index, Ramp):
        lanes, stride, index = index.lanes, index.stride, index.base
    used = {part.name for part in parts(index) if isinstance(part, Var)}
    inner = [var for var in serial if var in used]
    rank = len(inner) + 2
    values: dict[str, Numbers] = {}
    shared = [loop for loop in loops if loop.var in used]
    if shared:
        steps = dict(
            zip(
                (loop.var for loop in loops),
                np.unravel_index(tasks, [loop.extent for loop in loops]),
                strict=True,
            )
        )
        together = np.unique(np.stack([steps[loop.var] for loop in shared]), axis=1)
        for loop, column in zip(shared, together, strict=True):
            values[loop.var] = column.reshape(-1, *[1] * (rank - 1))
    elif not tasks.size:
        return np.zeros(0, np.int64)
    for axis, var in enumerate(inner, 1):
        shape = [-1 if place == axis else 1 for place in range(rank)]
        values[var] = np.arange(serial[var]).reshape(shape)
    return np.ravel(evaluate_index(index, values) + np.arange(lanes) * stride)


class Lines:
    """The cache lines of one region: who wrote them last, and who has them since."""

    def __init__(self, size: int) -> None:
        self.writer = np.full(-(-size // LINE), _NOBODY, np.int16)
        self.owners = np.zeros(-(-size // LINE), np.uint64)

    def read(self, lines: Numbers, thread: int) -> int:
        """How many of these lines come from another thread."""
        bit = np.uint64(1 << thread)
        missing = (self.owners[lines] & bit) == 0
        crossing = missing & (self.writer[lines] != _NOBODY) & (self.writer[lines] != thread)
        self.owners[lines] |= bit
        return int(crossing.sum())

    def write(self, lines: Numbers, thread: int) -> int:
        """How many of these lines another thread has to give up."""
        bit = np.uint64(1 << thread)
        crossing = (self.owners[lines] & ~bit) != 0
        self.owners[lines] = bit
        self.writer[lines] = thread
        return int(crossing.sum())


def crossing(program: Program, threads: int) -> list[Traffic]:
    """The traffic of every step of a program between so many threads, at most 64."""
    sizes: dict[tuple[Region, int], int] = {}
    for step in program.steps:
        for place, param in zip(step.places, program.kernels[step.kernel].params, strict=True):
            end = place.offset + param.size * param.dtype.bytes
            sizes[place.region, place.index] = max(sizes.get((place.region, place.index), 0), end)
    memory = {key: Lines(size) for key, size in sizes.items()}
    shares: dict[tuple[int, bool], list[Touched]] = {}
    result: list[Traffic] = []
    for _ in range(2):
        result = []
        for step in program.steps:
            number = threads if step.shared else 1
            kernel, key = program.kernels[step.kernel], (step.kernel, step.shared)
            if key not in shares:
                shares[key] = [share(kernel, thread, number) for thread in range(number)]
            found = [
                _touch(step, kernel, touched, thread, memory)
                for thread, touched in enumerate(shares[key])
            ]
            result.append(Traffic(*(tuple(column) for column in zip(*found, strict=True))))
    return result


def _touch(
    step: Step,
    kernel: Kernel,
    touched: Touched,
    thread: int,
    memory: Mapping[tuple[Region, int], Lines],
) -> tuple[int, int, int]:
    """One thread's part of a step: bytes read and written across threads, and of weights."""
    read = written = weights = 0
    for param, place in zip(kernel.params, step.places, strict=True):
        size = param.dtype.bytes
        lines = {
            writes: np.unique((np.flatnonzero(mask[param.name]) * size + place.offset) // LINE)
            for writes, mask in ((False, touched.reads), (True, touched.writes))
        }
        if place.region is Region.WEIGHTS:
            weights += lines[False].size * LINE
            continue
        region = memory[place.region, place.index]
        read += region.read(lines[False], thread) * LINE
        written += region.write(lines[True], thread) * LINE
    return read, written, weights


def main() -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("networks", nargs="+", metavar="NET", type=zoo_file)
    parser.add_argument("--threads", type=_threads, default=2, help="2 to 64; 2")
    options = parser.parse_args()
    for path in options.networks:
        net = cnnc.load(path).compile(threads=options.threads)
        program = net.lowered.program
        traffic = crossing(program, options.threads)
        print(f"{'read':>8}{'written':>8}{'weights':>8}  step, KiB of the thread with most")
        for step, each in zip(program.steps, traffic, strict=True):
            print("".join(f"{most / 1024:8.0f}" for most in _most(each)), "", step.layer)
        totals = np.sum([_most(each) for each in traffic], axis=0)
        print("".join(f"{total / 1024:8.0f}" for total in totals), "", path.stem)


def _threads(text: str) -> int:
    """A number of threads between which something crosses, each a bit of a word."""
    if not text.isdecimal() or not 2 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 2 to 64")
    return int(text)


def _most(traffic: Traffic) -> tuple[int, int, int]:
    return max(traffic.read), max(traffic.written), max(traffic.weights)


if __name__ == "__main__":
    main()
