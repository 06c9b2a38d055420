"""Objects that stand alone: a network's code behind the C interface, and its weights."""

from collections.abc import Sequence
from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np

from cnnc.backends.abi import HEAD_BYTES, MAGIC, UNKNOWN_STATUS, Abi, Status, fill_weights
from cnnc.backends.native import ir, unlocked
from cnnc.backends.native.emit import emit_kernel
from cnnc.backends.native.emit_program import Call, Memory, emit_calls
from cnnc.backends.native.frames import called_functions, stack_bytes
from cnnc.backends.native.levels import Level, common_target, level_of
from cnnc.backends.native.signature import POINTER, word_of
from cnnc.backends.native.targets import target_machine
from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.base.templates import fill
from cnnc.loop.kernel import ALIGNMENT, Kernel, Place, Program, Region

LARGEST_32 = 1 << 31
"""Bytes of weights and arena that a 32-bit machine cannot address any more."""


@record
class Version:
    """A program, and the target that its loops are made for."""

    program: Program
    target: Target


@record
class Code:
    """An object file, the same as assembly and as optimised LLVM IR.

    `stack_bytes` is the most that a call takes from the stack, its return address included, and
    the barrier's own not. `calls` are functions that the object expects to be linked with: `memset`
    and its like, and where the processor has no instruction for them, those of compiler-rt or
    libgcc, and of libm.
    """

    object: bytes
    assembly: str
    llvm: str
    stack_bytes: int
    calls: tuple[str, ...]


@record
class InterfaceView:
    """What the templates of the C interface may see, as LLVM IR writes it."""

    name: str
    word: str
    number: str
    result: str
    widen: tuple[str, str]
    attributes: str
    parameters: str
    rest: str
    pointers: tuple[str, ...]
    payloads: tuple[int, ...]
    versions: int
    cases: str
    levels: tuple[Level, ...]
    check_samples: str
    magic: int
    hash: int
    head_bytes: int
    weights_bytes: int
    alignment: int
    low_bits: int
    texts: str
    texts_bytes: int
    starts: str
    statuses: int
    unknown: int
    null_pointer: int
    misaligned: int
    wrong_weights: int
    wrong_size: int
    wrong_samples: int
    wrong_threads: int
    wrong_processor: int


def compile_standalone(versions: Sequence[Version], abi: Abi, *, has_weights: bool) -> Code:
    """The C interface of one network as one object, for a linker: it is position independent.

    Several versions are for levels of x86-64, the lowest first; the code chooses among them when
    weights are opened, and gives no handle on a processor below the lowest level. With
    `has_weights`, `NAME_weights_builtin` gives those of `weights_object`.
    UserError where versions cannot be told apart, or a 32-bit machine has not room enough.
    """
    _check_room(versions, abi)
    common = common_target([version.target for version in versions])
    machine = target_machine(common, jit=False)
    module = llvm.parse_assembly(standalone_source(versions, abi, has_weights), _context())
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    unlocked.run_passes(builder.getModulePassManager(), module, builder)
    text = str(module)
    assembly = unlocked.emit(machine, module.clone(), assembly=True).decode()
    return Code(
        object=unlocked.emit(machine, module, assembly=False),
        assembly=assembly,
        llvm=text,
        stack_bytes=stack_bytes(assembly, versions[0].target, abi.name),
        calls=called_functions(assembly, versions[0].target, abi.name),
    )


def standalone_source(versions: Sequence[Version], abi: Abi, has_weights: bool) -> str:
    """The same as LLVM IR, before optimisation."""
    target = versions[0].target
    module = ir.Module(name=abi.name)
    module.triple = target.triple
    module.data_layout = str(target_machine(target, jit=False).target_data)
    for number, version in enumerate(versions):
        _emit_version(module, _in_parts(version), abi, number, is_only=len(versions) == 1)
    view = _view(versions, abi)
    names = ["interface", "entries", "weights"] + ["builtin"] * has_weights
    names.append("choose_only" if len(versions) == 1 else "choose_x86")
    return "\n".join([str(module), *(fill(f"native/{name}.ll", view) for name in names)])


def weights_object(versions: Sequence[Version], abi: Abi) -> bytearray:
    """An object whose read-only `NAME_weights_data` is the head and the weights of all versions.

    LLVM writes the frame, of the head and zeros; the weights are packed into it, so that they
    never are text.
    """
    target = versions[0].target
    machine = target_machine(target, jit=False)
    rest = abi.weights_bytes - HEAD_BYTES
    head = "".join(f"\\{byte:02X}" for byte in abi.head)
    kind = f"<{{ [{HEAD_BYTES} x i8], [{rest} x i8] }}>"
    value = f'<{{ [{HEAD_BYTES} x i8] c"{head}", [{rest} x i8] zeroinitializer }}>'
    name = f"{abi.name}_weights_data"
    text = f'source_filename = "{name}"\ntarget triple = "{target.triple}"\n'
    text += f'target datalayout = "{machine.target_data}"\n'
    text += f"@{name} = hidden constant {kind} {value}, align {ALIGNMENT}\n"
    module = llvm.parse_assembly(text, _context())
    made = bytearray(unlocked.emit(machine, module, assembly=False))
    start = made.index(abi.head)
    assert made.find(abi.head, start + 1) < 0
    memory = np.frombuffer(made, np.uint8)[start:][: abi.weights_bytes]
    fill_weights([version.program for version in versions], abi, memory)
    return made


def _context() -> llvm.ContextRef:
    return llvm.create_context()


def _check_room(versions: Sequence[Version], abi: Abi) -> None:
    needed = abi.weights_bytes + abi.arena_bytes
    target = versions[0].target
    if target.pointer_bits == 32 and needed >= LARGEST_32:
        raise fail(
            "E0801",
            f"{target.triple} has addresses of 32 bits, too few for this network",
            notes=(f"weights and arena take {needed:,} bytes",),
        )


def _in_parts(version: Version) -> Version:
    """Who calls brings a barrier, and nothing that hands out what threads do."""
    kernels = tuple(kernel.in_parts() for kernel in version.program.kernels)
    return replace(version, program=replace(version.program, kernels=kernels))


def _emit_version(
    module: ir.Module, version: Version, abi: Abi, number: int, *, is_only: bool
) -> None:
    """The kernels of one version, and `NAME_steps<number>`, which calls them."""
    program, target = version.program, version.target
    prefix = abi.name if is_only else f"{abi.name}_v{number}"
    own = {"noinline"}
    if not is_only:
        own |= {f'"target-cpu"="{target.cpu}"', f'"target-features"="{target.features}"'}
    kernels: list[ir.Function] = []
    for kernel in program.kernels:
        named: Kernel = replace(kernel, name=f"{prefix}_{kernel.name}")
        kernels.append(emit_kernel(module, named, target))
        kernels[-1].linkage = "internal"
        kernels[-1].attributes |= own
    _emit_steps(module, version, abi, f"{abi.name}_steps{number}", kernels)


def _emit_steps(
    module: ir.Module, version: Version, abi: Abi, name: str, kernels: Sequence[ir.Function]
) -> None:
    """`void steps(weights, arena, [samples], ends…, thread, threads, barrier, context)`.

    Here weights begin with the first constant of this version. A program that is not shared is the
    first thread's alone.
    """
    program, void, word = version.program, ir.VoidType(), word_of(version.target)
    numbers = [word] if abi.most_samples is not None else []
    kinds = [POINTER, POINTER, *numbers, *[POINTER] * len(abi.ends), word, word, POINTER, POINTER]
    function = ir.Function(module, ir.FunctionType(void, kinds), name)
    function.linkage = "internal"
    function.attributes |= {"nounwind", "noinline"}
    weights, arena, *rest = function.args
    samples, ends = rest[0] if numbers else None, rest[len(numbers) : -4]
    thread, threads, barrier, context = rest[-4:]
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    memory = Memory(arena, abi.scratch_offset, abi.scratch_bytes)

    def end(place: Place) -> ir.Value:
        return ends[place.index + len(abi.inputs) * (place.region is Region.OUTPUT)]

    def wait() -> None:
        with builder.if_then(builder.icmp_signed("!=", threads, word(1))):
            called = ir.FunctionType(void, [POINTER])
            builder.call_pointer(barrier, called, [context])

    if not program.is_shared:
        first = builder.icmp_signed("==", thread, word(0))
        with builder.if_then(first):
            call = Call(weights, memory, end, samples, word(0), word(1))
            emit_calls(builder, program, kernels, call, lambda: None)
    else:
        call = Call(weights, memory, end, samples, thread, threads)
        emit_calls(builder, program, kernels, call, wait)
    builder.ret_void()


def _view(versions: Sequence[Version], abi: Abi) -> InterfaceView:
    target = versions[0].target
    word = str(word_of(target))
    extended = " signext" if target.architecture == "riscv64" else ""
    ends = [f"x.{end.c_name}" for end in abi.ends]
    samples = [f"{word} %samples"] if abi.most_samples is not None else []
    rest = ", ".join(["ptr %arena", *samples, *(f"ptr %{end}" for end in ends)])
    texts = [abi.strerror(status) for status in Status] + [UNKNOWN_STATUS]
    starts = [sum(len(text) + 1 for text in texts[:number]) for number in range(len(texts))]
    joined = "".join(f"{text}\0" for text in texts).encode()
    return InterfaceView(
        name=abi.name,
        word=word,
        number=f"i32{extended}",
        result=f"{extended.strip()} i32".strip(),
        widen=("sext i32", "to i64") if word == "i64" else ("add i32", ", 0"),
        attributes="nounwind optsize" if target.is_small else "nounwind",
        parameters=f"ptr %weights, {rest}",
        rest=rest,
        pointers=("arena", *ends),
        payloads=abi.payloads,
        versions=len(versions),
        cases=" ".join(f"{word} {number}, label %v{number}" for number in range(1, len(versions))),
        levels=tuple(level_of(v.target) for v in versions) if len(versions) > 1 else (),
        check_samples=_check_samples(abi, word),
        magic=int.from_bytes(MAGIC, "little"),
        hash=abi.hash,
        head_bytes=HEAD_BYTES,
        weights_bytes=abi.weights_bytes,
        alignment=ALIGNMENT,
        low_bits=ALIGNMENT - 1,
        texts="".join(_escaped(byte) for byte in joined),
        texts_bytes=len(joined),
        starts=", ".join(f"i16 {start}" for start in starts),
        statuses=len(texts),
        unknown=len(texts) - 1,
        null_pointer=Status.NULL_POINTER,
        misaligned=Status.MISALIGNED,
        wrong_weights=Status.WRONG_WEIGHTS,
        wrong_size=Status.WRONG_SIZE,
        wrong_samples=Status.WRONG_SAMPLES,
        wrong_threads=Status.WRONG_THREADS,
        wrong_processor=Status.WRONG_PROCESSOR,
    )


def _check_samples(abi: Abi, word: str) -> str:
    if abi.most_samples is None:
        return "  %wrong = icmp eq i32 0, 1"
    return (
        f"  %above = sub {word} %samples, 1\n  %wrong = icmp uge {word} %above, {abi.most_samples}"
    )


def _escaped(byte: int) -> str:
    letter = chr(byte)
    return (
        letter
        if letter.isascii() and letter.isprintable() and letter not in '"\\'
        else f"\\{byte:02X}"
    )
