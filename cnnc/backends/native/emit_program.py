"""The function that runs a whole program: every step, with barriers between them."""

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
    bases = {Region.WEIGHTS: weights, Region.ARENA: arena}
    tables = {Region.INPUT: inputs, Region.OUTPUT: outputs}

    def pointer(place: Place) -> ir.Value:
        if place.region in bases:
            base = bases[place.region]
            return builder.gep(base, [word(place.offset)], source_etype=ir.IntType(8))
        slot = builder.gep(tables[place.region], [word(place.index)], source_etype=POINTER)
        return builder.load(slot, typ=POINTER)

    samples: list[ir.Value] = []
    if program.most_samples is not None:
        slot = builder.gep(inputs, [word(len(program.inputs))], source_etype=word)
        samples = [builder.load(slot, typ=word)]
    own = builder.mul(thread, word(program.scratch_bytes))
    own = builder.add(own, word(align(program.arena_bytes)))
    scratch = builder.gep(arena, [own], source_etype=ir.IntType(8))
    for step in program.steps:
        if step.barrier:
            builder.call(wait, [barrier, threads])
        kernel = program.kernels[step.kernel]
        places = [pointer(place) for place in step.places]
        places += [scratch] if kernel.scratch_bytes else []
        numbers = samples if kernel.takes_samples else []
        if step.shared:
            builder.call(kernels[step.kernel], [*places, thread, threads, *numbers])
            continue
        with builder.if_then(builder.icmp_signed("==", thread, word(0))):
            builder.call(kernels[step.kernel], [*places, word(0), word(1), *numbers])
    builder.ret_void()
