"""The function that runs a whole program: every step, with barriers between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from cnnc.backends.native import ir
from cnnc.backends.native.arguments import Argument, in_order
from cnnc.backends.native.engine import ENTRY
from cnnc.backends.native.signature import (
    BARRIER,
    POINTER,
    VOID,
    barrier_type,
    kernel_type,
    word_of,
)
from cnnc.base.target import Target
from cnnc.loop.kernel import Place, Program, Region, align

BYTE = ir.IntType(8)


def emit_program(module: ir.Module, program: Program, target: Target) -> None:
    """Add `void cnnc_net(weights, arena, inputs, outputs, thread, threads, barrier)`.

    Every thread calls it with its own number; `inputs` and `outputs` are arrays of pointers. Behind
    the memory that threads share lies that of each of them. Where a program may run fewer samples
    than it has room for, their number follows the last input.
    """
    word = word_of(target)
    signature = ir.FunctionType(VOID, [POINTER] * 4 + [word, word, POINTER])
    function = ir.Function(module, signature, ENTRY)
    weights, arena, inputs, outputs, thread, threads, barrier = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    wait = ir.Function(module, barrier_type(word), BARRIER)
    kernels = [
        ir.Function(module, kernel_type(kernel, word), kernel.name) for kernel in program.kernels
    ]
    tables = {Region.INPUT: inputs, Region.OUTPUT: outputs}

    def end(place: Place) -> ir.Value:
        slot = builder.gep(tables[place.region], [word(place.index)], source_etype=POINTER)
        return builder.load(slot, typ=POINTER)

    samples = None
    if program.most_samples is not None:
        slot = builder.gep(inputs, [word(len(program.inputs))], source_etype=word)
        samples = builder.load(slot, typ=word)
    memory = Memory(arena, program.shared_bytes, program.own_bytes)
    call = Call(weights, memory, end, samples, thread, threads, barrier)
    emit_calls(builder, program, kernels, call, lambda: builder.call(wait, [barrier, threads]))
    builder.ret_void()


@dataclass(frozen=True)
class Memory:
    """Where tensors lie: what threads share at `start`, what each has of its own from `offset` on.

    `stride` is how far what one thread has lies from what the next one has.
    """

    start: ir.Value
    offset: int
    stride: int

    def own(self, builder: ir.IRBuilder, thread: ir.Value, offset: int = 0) -> ir.Value:
        """An address in what a thread has."""
        word = thread.type
        behind = builder.mul(thread, word(self.stride))
        behind = builder.add(behind, word(self.offset + offset))
        return builder.gep(self.start, [behind], source_etype=BYTE)


@dataclass(frozen=True)
class Call:
    """What a run is given: where memory is, who runs.

    `end` is the address of an input or output; `samples` is None where their number is fixed. The
    `barrier` is what iterations are handed out by; there is none where no kernel's are.
    """

    weights: ir.Value
    memory: Memory
    end: Callable[[Place], ir.Value]
    samples: ir.Value | None
    thread: ir.Value
    threads: ir.Value
    barrier: ir.Value | None = None

    @property
    def behind(self) -> dict[Argument, ir.Value]:
        """What kernels can be given behind their buffers."""
        given = {
            Argument.THREAD: self.thread,
            Argument.THREADS: self.threads,
            Argument.BARRIER: self.barrier,
            Argument.SAMPLES: self.samples,
        }
        return {argument: value for argument, value in given.items() if value is not None}


def emit_calls(
    builder: ir.IRBuilder,
    program: Program,
    kernels: Sequence[ir.Function],
    call: Call,
    wait: Callable[[], object],
) -> None:
    """The calls of all kernels; `wait` writes what waits for the other threads."""
    writer = _Writer(builder, program, kernels, wait)
    if program.apart:
        writer.samples(call)
    else:
        scratch = call.memory.own(builder, call.thread)
        writer.steps(call, call.memory.start, scratch, wait)


@dataclass(frozen=True)
class _Writer:
    """Writes the calls of a program's kernels."""

    builder: ir.IRBuilder
    program: Program
    kernels: Sequence[ir.Function]
    wait: Callable[[], object]

    def samples(self, call: Call) -> None:
        """All steps for one sample after the other.

        Thread 1 of 3 takes samples 1, 4, 7, …. Where steps can be shared, all threads share those
        samples that are left over when no thread can have another one, in the memory of the first.
        """
        builder, word = self.builder, call.thread.type
        count = call.samples or word(self.program.repeats)

        def alone(sample: ir.Value) -> None:
            taken = replace(call, thread=word(0), threads=word(1))
            self._sample(taken, sample, (call.thread, call.thread), lambda: None)

        def together(sample: ir.Value) -> None:
            self.wait()
            self._sample(call, sample, (word(0), call.thread), self.wait)

        if not self.program.shares_steps:
            builder.count(call.thread, count, call.threads, alone)
            return
        even = builder.sub(count, builder.urem(count, call.threads))
        builder.count(call.thread, even, call.threads, alone)
        builder.count(even, count, word(1), together)

    def _sample(
        self,
        call: Call,
        sample: ir.Value,
        owners: tuple[ir.Value, ir.Value],
        wait: Callable[[], object],
    ) -> None:
        """All steps for a sample; whose arena it takes, and whose scratch memory, say `owners`."""
        builder, behind = self.builder, align(self.program.arena_bytes)

        def end(place: Place) -> ir.Value:
            offset = builder.mul(sample, call.thread.type(_sample_bytes(self.program, place)))
            return builder.gep(call.end(place), [offset], source_etype=BYTE)

        arena = call.memory.own(builder, owners[0])
        scratch = call.memory.own(builder, owners[1], behind)
        self.steps(replace(call, end=end, samples=None), arena, scratch, wait)

    def steps(
        self, call: Call, arena: ir.Value, scratch: ir.Value, wait: Callable[[], object]
    ) -> None:
        """One run through the steps; those that are not shared are the first thread's."""
        builder, word = self.builder, call.thread.type
        bases = {Region.WEIGHTS: call.weights, Region.ARENA: arena}

        def pointer(place: Place) -> ir.Value:
            if place.region in bases:
                base = bases[place.region]
                return builder.gep(base, [word(place.offset)], source_etype=BYTE)
            return call.end(place)

        for step in self.program.steps:
            if step.barrier:
                wait()
            kernel = self.program.kernels[step.kernel]
            places = [pointer(place) for place in step.places]
            behind = {**call.behind, Argument.SCRATCH: scratch}
            if step.shared:
                builder.call(self.kernels[step.kernel], [*places, *in_order(kernel, behind)])
                continue
            behind |= {Argument.THREAD: word(0), Argument.THREADS: word(1)}
            with builder.if_then(builder.icmp_signed("==", call.thread, word(0))):
                builder.call(self.kernels[step.kernel], [*places, *in_order(kernel, behind)])


def _sample_bytes(program: Program, place: Place) -> int:
    """How far a sample of an input or output lies from the next."""
    ports = program.inputs if place.region is Region.INPUT else program.outputs
    port = ports[place.index]
    return prod(port.shape[1:]) * port.dtype.bytes
