"""Memory between pages that may not be touched, and networks that run in nothing else."""

import ctypes
import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from math import prod

import numpy as np
from hypothesis import Phase, given, seed, settings

import cnnc
from cnnc import driver
from cnnc.backends.base import Backend, Executable
from cnnc.backends.native.backend import BACKEND as NATIVE
from cnnc.backends.native.backend import NativeExecutable
from cnnc.backends.native.pool import shared_pool
from cnnc.backends.registry import load_backend
from cnnc.base.dtype import DType
from cnnc.compare.layerwise import compare_layers
from cnnc.ir.evaluate import samples_of
from cnnc.ir.graph import Array, Graph
from cnnc.ir.verify import verify
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Port, Program
from cnnc.lowering.lowered import Layer, Lowered
from tests.backends.support import single
from tests.backends.wide_graphs import wide_graph
from tests.nets.programs import programs
from tests.ops.cases import CASES

PAGE = mmap.PAGESIZE
NOTHING, READ, READ_WRITE = 0, 1, 3
MARKS = (0xA5, 0x5A)
"""Bytes of memory that nobody has written yet, in one run and in another."""
POISONS = (np.nan, 1.0)
"""Numbers in channels that only fill a block, in one run and in another."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


@contextmanager
def guarded(content: Array, *, at_end: bool, writable: bool = False) -> Iterator[Array]:
    """A copy of the array that ends (or starts) where memory ends: a step beyond is a crash."""
    size = content.nbytes
    body = -(-max(size, 1) // PAGE) * PAGE
    memory = mmap.mmap(-1, body + 2 * PAGE)
    whole = (ctypes.c_char * len(memory)).from_buffer(memory)
    base = ctypes.addressof(whole)
    start = PAGE + (body - size if at_end else 0)
    array = np.frombuffer(memory, np.uint8, size, start).view(content.dtype)
    array[:] = content.reshape(-1)
    _protect(base, PAGE, NOTHING)
    _protect(base + PAGE, body, READ_WRITE if writable else READ)
    _protect(base + PAGE + body, PAGE, NOTHING)
    yield array
    _protect(base, len(memory), READ_WRITE)


def _protect(address: int, size: int, access: int) -> None:
    if _LIBC.mprotect(address, size, access):
        raise OSError(ctypes.get_errno(), "mprotect")


def check_network(
    graph: Graph, target_name: str, seed: int, backend: Backend | None = None
) -> None:
    """Every layer alone, then the program on several threads: right, inside its memory, the same.

    What a layer must not depend on differs from run to run: channels that only fill a block, memory
    not yet written, the arena at the start. Another backend than the native one has its own arena.
    """
    verify(graph)
    target = driver.find_target(target_name)
    optimised = driver.optimise(graph, driver.pipeline(target))
    lowered = driver.lower_graph(optimised, target)
    executable = (backend or NATIVE).compile(lowered.program, target, 1)
    random = np.random.default_rng(seed)
    inputs = {node.name: _drawn(random, node.type.shape, node.type.dtype) for node in graph.inputs}
    for found in chain.from_iterable(
        compare_layers(lowered, executable, together)
        for together in samples_of(lowered.graph, inputs)
    ):
        assert found.errors.ok, (found.layer.node.name, found.errors)
        assert not found.spill, found.layer.node.name
    for layer in lowered.layers:
        for at_end in (True, False):
            _check_layer(lowered, executable, layer, random, at_end=at_end)
    if not isinstance(executable, NativeExecutable):
        _check_ends(executable, inputs)
        return
    runs = [
        _run(lowered.program, executable.address, inputs, threads, mark, at_end=at_end)
        for threads, mark, at_end in ((1, MARKS[0], True), (3, 0xFF, False), (5, MARKS[1], True))
    ]
    alone = executable_outputs(executable, inputs)
    for outputs in runs:
        for expected, each in zip(alone, outputs, strict=True):
            np.testing.assert_array_equal(each, expected)


def _check_ends(executable: Executable, inputs: dict[str, Array]) -> None:
    """The program between inputs and outputs that end where memory ends."""
    program, alone = executable.program, executable_outputs(executable, inputs)
    for mark, at_end in zip(MARKS, (True, False), strict=True):
        with ExitStack() as stack:
            sources = [
                stack.enter_context(guarded(inputs[port.name], at_end=at_end)).reshape(port.shape)
                for port in program.inputs
            ]
            outputs = [
                stack.enter_context(guarded(_unwritten(port, mark), at_end=at_end, writable=True))
                for port in program.outputs
            ]
            executable.run(sources, outputs)
            for expected, each in zip(alone, outputs, strict=True):
                np.testing.assert_array_equal(each, expected)


def executable_outputs(executable: Executable, inputs: dict[str, Array]) -> list[Array]:
    """The outputs from ordinary memory, flat."""
    program = executable.program
    outputs = [np.empty(port.shape, port.dtype.numpy) for port in program.outputs]
    executable.run([inputs[port.name] for port in program.inputs], outputs)
    return [output.reshape(-1) for output in outputs]


def _check_layer(
    lowered: Lowered,
    executable: Executable,
    layer: Layer,
    random: np.random.Generator,
    *,
    at_end: bool,
) -> None:
    *params, out = layer.kernel.params
    kernel = lowered.program.steps[layer.step].kernel
    contents = [
        _drawn(random, param.shape, param.dtype) if operand.constant is None else operand.constant
        for param, operand in zip(params, layer.operands, strict=False)
    ]
    results = []
    for mark, poison in zip(MARKS, POISONS, strict=True):
        with ExitStack() as stack:
            buffers = []
            for param, operand, value in zip(params, layer.operands, contents, strict=False):
                memory = param.layout.pack(value.astype(param.dtype.numpy)).reshape(-1)
                if operand.constant is None and param.dtype.is_float:
                    memory[_is_filling(param)] = poison
                buffers.append(stack.enter_context(guarded(memory, at_end=at_end)))
            size = out.layout.size(out.shape) * out.dtype.bytes
            fresh = np.full(size, mark, np.uint8).view(out.dtype.numpy)
            result = stack.enter_context(guarded(fresh, at_end=at_end, writable=True))
            executable.run_kernel(kernel, [*buffers, result])
            results.append(out.layout.unpack(result, out.shape).tobytes())
    assert results[0] == results[1], layer.node.op.label


def _drawn(random: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Array:
    """Ordinary values of an element type."""
    if dtype.is_float:
        return random.normal(0, 1, shape).astype(dtype.numpy)
    return random.integers(0, 2 if dtype is DType.BOOL else 100, shape).astype(dtype.numpy)


def _is_filling(buffer: Buffer) -> Array:
    """Where memory holds channels that only fill up a block: no elements, nor halo."""
    grown = [size + sum(buffer.layout.halo_of(axis)) for axis, size in enumerate(buffer.shape)]
    bare = buffer.layout.with_halo(())
    return bare.pack(np.ones(grown, np.uint8)).reshape(-1) == 0


def _run(
    program: Program,
    address: int,
    inputs: dict[str, Array],
    threads: int,
    mark: int,
    *,
    at_end: bool,
) -> list[Array]:
    """The outputs of a run in guarded memory, the second on the same arena."""
    weights = np.zeros(program.weights_bytes, np.uint8)
    for blob in program.weights:
        blob.contents.pack_into(weights[blob.offset : blob.end])
    arena = np.full(program.shared_bytes + threads * program.own_bytes, mark, np.uint8)
    with ExitStack() as stack:

        def place(content: Array, *, writable: bool = False) -> Array:
            return stack.enter_context(guarded(content, at_end=at_end, writable=writable))

        regions = [place(weights), place(arena, writable=True)]
        sources = [place(inputs[port.name]) for port in program.inputs]
        fresh = [_unwritten(port, mark) for port in program.outputs]
        outputs = [place(each, writable=True) for each in fresh]
        tables = [_table(sources), _table(outputs)]
        for _ in range(2):
            shared_pool(threads).run(
                address,
                *(region.ctypes.data for region in regions),
                *(ctypes.addressof(table) for table in tables),
            )
        return [output.copy() for output in outputs]


def _unwritten(port: Port, mark: int) -> Array:
    return np.full(prod(port.shape) * port.dtype.bytes, mark, np.uint8).view(port.dtype.numpy)


def _table(arrays: Sequence[Array]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def main(what: str, target: str, first: int, count: int, backend: Backend | None = None) -> None:
    """Check so many networks, printing each one before it runs: it may be the last."""
    if what == "operators":
        for case in CASES[first : first + count]:
            print(f"{case} for {target}", flush=True)
            split = len(case.operands) - len(case.parameters)
            check_network(
                single(case.op, case.operands[:split], case.operands[split:]), target, 0, backend
            )
        return
    if what == "wide":
        for number in range(first, first + count):
            print(f"network {number} for {target}", flush=True)
            check_network(wide_graph(number), target, number, backend)
        return

    @seed(first)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate])
    def check(text: str) -> None:
        print(text, flush=True)
        check_network(cnnc.load_text(text).graph, target, first, backend)

    given(programs())(check)()


if __name__ == "__main__":
    named = load_backend(sys.argv[5]) if len(sys.argv) > 5 else None
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), named)
