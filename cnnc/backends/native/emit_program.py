"""The function that runs a whole program: every step, with barriers between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnnc.backends.native import ir
from cnnc.backends.native.emit import kernel_type, word_of
from cnnc.backends.native.engine import ENTRY
from cnnc.base.target import Target
from cnnc.loop.kernel import Place, Program, Region, align

POINTER = ir.PointerType()
BARRIER = "cnnc_barrier"


def emit_program(module: ir.Module, program: Program, target: Target) -> None:
    """Add `void cnnc_net(weights, arena, inputs, outputs, thread, threads, barrier)`.

    Every thread calls it with its own number; `inputs` and `outputs` are arrays of pointers. Behind
    the arena lies the scratch memory of each thread. Where
    a program may run fewer samples than it has room for, their number follows the last input.
    """
    void, word = ir.VoidType(), word_of(target)
    signature = ir.FunctionType(void, [POINTER] * 4 + [word, word, POINTER])
    function = ir.Function(module, signature, ENTRY)
    weights, arena, inputs, outputs, thread, threads, barrier = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    wait = ir.Function(module, ir.FunctionType(void, [POINTER, word]), BARRIER)
    kernels = [
        ir.Function(module, kernel_type(kernel, target), kernel.name) for kernel in program.kernels
    ]
    tables = {Region.INPUT: inputs, Region.OUTPUT: outputs}

    def end(place: Place) -> ir.Value:
        slot = builder.gep(tables[place.region], [word(place.index)], source_etype=POINTER)
        return builder.load(slot, typ=POINTER)

    samples: list[ir.Value] = []
    if program.most_samples is not None:
        slot = builder.gep(inputs, [word(len(program.inputs))], source_etype=word)
        samples = [builder.load(slot, typ=word)]
    own = builder.mul(thread, word(program.scratch_bytes))
    own = builder.add(own, word(align(program.arena_bytes)))
    scratch = builder.gep(arena, [own], source_etype=ir.IntType(8))
    call = Call(weights, arena, end, scratch, samples, thread, threads)
    emit_steps(builder, program, kernels, call, lambda: builder.call(wait, [barrier, threads]))
    builder.ret_void()


@dataclass(frozen=True)
class Call:
    """What a run is given: where memory is, who runs.

    `end` is the address of an input or output; `samples` is empty where their number is fixed.
    """

    weights: ir.Value
    arena: ir.Value
    end: Callable[[Place], ir.Value]
    scratch: ir.Value
    samples: Sequence[ir.Value]
    thread: ir.Value
    threads: ir.Value


def emit_steps(
    builder: ir.IRBuilder,
    program: Program,
    kernels: Sequence[ir.Function],
    call: Call,
    wait: Callable[[], object],
) -> None:
    """The calls of all kernels; `wait` writes what waits for the other threads.

    Steps that are not shared are those of the first thread.
    """
    bases = {Region.WEIGHTS: call.weights, Region.ARENA: call.arena}
    word = call.thread.type

    def pointer(place: Place) -> ir.Value:
        if place.region in bases:
            base = bases[place.region]
            return builder.gep(base, [word(place.offset)], source_etype=ir.IntType(8))
        return call.end(place)

    for step in program.steps:
        if step.barrier:
            wait()
        kernel = program.kernels[step.kernel]
        places = [pointer(place) for place in step.places]
        places += [call.scratch] if kernel.scratch_bytes else []
        numbers = call.samples if kernel.takes_samples else []
        if step.shared:
            arguments = [*places, call.thread, call.threads, *numbers]
            builder.call(kernels[step.kernel], arguments)
            continue
        with builder.if_then(builder.icmp_signed("==", call.thread, word(0))):
            builder.call(kernels[step.kernel], [*places, word(0), word(1), *numbers])
