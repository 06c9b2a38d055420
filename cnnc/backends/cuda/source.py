"""The text of a network for a GPU: NAME.h and NAME.cu."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from cnnc.backends.abi import C_TYPES, HEAD_BYTES, UNKNOWN_STATUS, Abi, Argument, Status
from cnnc.backends.cuda.describe import describe, title
from cnnc.backends.cuda.plan import PIECE, Launch, Plan
from cnnc.backends.cuda.templates import render
from cnnc.backends.cuda.toolchain import ALL_KNOWN, OLDEST
from cnnc.base.half import HALVES
from cnnc.base.record import record
from cnnc.loop.kernel import align

CUDA = 1000
"""Statuses from here on are errors of the CUDA runtime."""
_WIDTH = 100
_WAITS = "wait_for_previous()"
"""What a kernel calls before it reads what another one has written."""


@record
class StatusView:
    """A status: its name in C, its value, what it says."""

    name: str
    value: int
    text: str


@record
class EndView:
    """An input or output."""

    name: str
    macro: str
    comment: str
    type: str
    size: int
    rank: int
    shape: str
    strides: str
    bytes: str
    offset: int
    is_output: bool


@record
class StepView:
    """A launch: lines of comment, whether it may start early, and the arguments of `launch`."""

    comment: tuple[str, ...]
    overlaps: str
    call: str


@record
class Signatures:
    """Parameters and arguments of functions; `captured` is how many values a graph is made for."""

    captured: int
    captured_values: str
    run_parameters: str
    host_parameters: str
    in_parameters: str
    out_parameters: str
    enqueue_parameters: str
    capture_parameters: str
    enqueue_arguments: str
    capture_arguments: str
    capture_call: str
    replay_parameters: str
    replay_arguments: str
    start_arguments: str
    in_arguments: str
    out_arguments: str
    staged_arguments: str
    example_arguments: str
    test_arguments: str


@record
class NetView:
    """What the templates of a network see."""

    name: str
    macro: str
    version: str
    summary: tuple[str, ...]
    hash: str
    alignment: int
    arch: int
    precision: str
    weights_bytes: int
    payload_bytes: int
    arena_bytes: int
    stored: str
    overlaps: bool
    functions: tuple[str, ...]
    oldest: int
    all_known: str
    counters: int
    counter_bytes: int
    staging_bytes: int
    macs: int
    launches: int
    most_samples: int
    head: tuple[str, ...]
    ends: tuple[EndView, ...]
    statuses: tuple[StatusView, ...]
    unknown: str
    kernels: tuple[str, ...]
    alone: tuple[str, ...]
    steps: tuple[StepView, ...]
    calls: tuple[str, ...]
    shared: tuple[tuple[str, int], ...]
    samples_comment: str
    takes: Signatures
    fat: str


def net_view(plan: Plan, version: str, summary: Sequence[str]) -> NetView:
    """What there is to say of a plan; `summary` are lines on what was compiled."""
    abi = plan.abi
    name, macro = abi.name, abi.macro
    ends = _ends(abi)
    samples = abi.most_samples is not None
    most = (
        f" `samples` is how many samples\n * they hold, from 1 to {macro}_BATCH." if samples else ""
    )
    shared = {e.kernel.name: e.kernel.shared_bytes for e in plan.launches}
    return NetView(
        name=name,
        macro=macro,
        version=version,
        summary=tuple(summary),
        hash=f"0x{abi.hash:016x}",
        alignment=PIECE,
        arch=plan.arch,
        precision=plan.precision,
        weights_bytes=abi.weights_bytes,
        payload_bytes=abi.weights_bytes - HEAD_BYTES,
        arena_bytes=plan.arena_bytes,
        stored=_stored(plan.precision),
        overlaps=all(_WAITS in each.kernel.source for each in plan.launches),
        functions=tuple(each.kernel.name for each in plan.kernels),
        oldest=OLDEST[0] * 1000 + OLDEST[1] * 10,
        all_known=".".join(map(str, ALL_KNOWN)),
        counters=plan.counters,
        counter_bytes=plan.counter_bytes,
        staging_bytes=ends[-1].offset + align(abi.ends[-1].size * abi.ends[-1].dtype.bytes),
        macs=plan.macs,
        launches=len(plan.launches),
        most_samples=abi.most_samples or 0,
        head=tuple(f"0x{octet:02x}" for octet in abi.head),
        ends=ends,
        statuses=_statuses(abi),
        unknown=UNKNOWN_STATUS,
        kernels=tuple(f"// {title(each)}\n{each.kernel.source}" for each in plan.kernels),
        alone=tuple(f"// {title(each)}\n{each.kernel.source}" for each in plan.alone),
        steps=tuple(_step(each, number) for number, each in enumerate(plan.launches, start=1)),
        calls=tuple(_call(each, _devices(each)) for each in plan.singles),
        shared=tuple((each, size) for each, size in shared.items() if size),
        samples_comment=most,
        takes=_signatures(abi, ends),
        fat=_fat(plan.arch),
    )


def _signatures(abi: Abi, ends: Sequence[EndView]) -> Signatures:
    name, macro = abi.name, abi.macro
    names = [end.name for end in ends]
    samples = abi.most_samples is not None
    count = ["samples"] if samples else []
    declared = [f"size_t {each}" for each in count]
    pointers = [end.declaration for end in abi.ends]
    handle, stream = f"{name}_net *net", "cudaStream_t stream"
    of = "const void *const *of"
    staged = [
        f"({'' if e.is_output else 'const '}{e.type} *)(net->staging + {e.offset})" for e in ends
    ]
    tested = [f"({each.type} *)ends[{number}]" for number, each in enumerate(ends)]
    return Signatures(
        captured=len(ends) + samples,
        captured_values=", ".join([*names, *["(const void *)(uintptr_t)samples"] * samples]),
        run_parameters=", ".join([handle, *declared, *pointers, "void *stream"]),
        host_parameters=", ".join([handle, *declared, *pointers]),
        in_parameters=", ".join([handle, *declared, *pointers[: len(abi.inputs)]]),
        out_parameters=", ".join([handle, *declared, *pointers[len(abi.inputs) :]]),
        enqueue_parameters=", ".join([handle, *declared, *pointers, stream]),
        capture_parameters=", ".join([handle, *declared, *pointers]),
        enqueue_arguments=", ".join(["net", *count, *names, "stream"]),
        capture_arguments=", ".join(["net", *count, *names, "net->stream"]),
        capture_call=", ".join(["net", *count, *names]),
        replay_parameters=", ".join([handle, *declared, *pointers, of, stream]),
        replay_arguments=", ".join(["net", *count, *names, "of", "stream"]),
        start_arguments=", ".join(["net", *count, *names, "of", "(cudaStream_t)stream"]),
        in_arguments=", ".join(["net", *count, *names[: len(abi.inputs)]]),
        out_arguments=", ".join(["net", *count, *names[len(abi.inputs) :]]),
        staged_arguments=", ".join(["net", *count, *staged, "net->stream"]),
        example_arguments=", ".join(["net", *[f"{macro}_BATCH"] * samples, *names, "stream"]),
        test_arguments=", ".join(["net", *[f"{macro}_BATCH"] * samples, *tested]),
    )


def _stored(precision: str) -> str:
    """What is said of elements between layers."""
    if precision in HALVES:
        return f"Those of float are rounded to {precision} there, and computed with as float."
    return "None of them is rounded there."


def _fat(arch: int) -> str:
    """Flags of nvcc for all GPUs from one on: machine code for usual ones, PTX for the rest."""
    usual = [each for each in (80, 86, 89, 90, 100, 120) if each >= arch]
    code = [f"-gencode arch=compute_{each},code=sm_{each}" for each in sorted({arch, *usual})]
    return " ".join([*code, f"-gencode arch=compute_{arch},code=compute_{arch}"])


def source_text(view: NetView) -> str:
    """NAME.cu."""
    return render("net.cu", view)


def header_text(view: NetView) -> str:
    """NAME.h."""
    return render("net.h", view)


def _ends(abi: Abi) -> tuple[EndView, ...]:
    sizes = [align(end.size * end.dtype.bytes) for end in abi.ends]
    offsets = accumulate(sizes[:-1], initial=0)
    return tuple(_end(abi, end, at) for end, at in zip(abi.ends, offsets, strict=True))


def _end(abi: Abi, end: Argument, offset: int) -> EndView:
    role = "output" if end.is_output else "input"
    called = "" if end.name == end.c_name else f" (`{end.name}` in the network)"
    size = end.size * end.dtype.bytes
    each = size // (abi.most_samples or 1)
    return EndView(
        name=end.c_name,
        macro=end.c_name.upper(),
        comment=f"{role} {end.c_name}{called}: {end.c_type} {list(end.shape)}",
        type=C_TYPES[end.dtype],
        size=end.size,
        rank=len(end.shape),
        shape=_braces(end.shape),
        strides=_braces(end.strides),
        bytes=str(size) if abi.most_samples is None else f"samples * {each}",
        offset=offset,
        is_output=end.is_output,
    )


def _braces(numbers: Sequence[int]) -> str:
    return f"{{{', '.join(map(str, numbers)) or '0'}}}"


def _statuses(abi: Abi) -> tuple[StatusView, ...]:
    shared = (
        Status.OK,
        Status.NULL_POINTER,
        Status.MISALIGNED,
        Status.WRONG_WEIGHTS,
        Status.WRONG_SIZE,
        Status.WRONG_SAMPLES,
    )
    found = [StatusView(abi.status(each), int(each), abi.strerror(each)) for each in shared]
    misaligned = f"a pointer is not aligned to {abi.macro}_ALIGNMENT bytes"
    found[2] = replace(found[2], text=misaligned)
    own = (
        ("NO_MEMORY", 7, "the host has no memory left"),
        ("OLD_DEVICE", 8, "the GPU is older than the one the code is for"),
        ("WRONG_DEVICE", 9, "a pointer is not to memory of the network's GPU"),
        ("CUDA", CUDA, "from here on: an error of the CUDA runtime, and this number"),
    )
    return (*found, *(StatusView(f"{abi.macro}_{name}", value, text) for name, value, text in own))


def _step(launch: Launch, number: int) -> StepView:
    places = [
        f"At({base}, {offset})" if base in ("arena", "weights") else f"At({base})"
        for base, offset in launch.arguments
    ]
    overlaps = "net->overlaps" if launch.kernel.starts_early else "false"
    return StepView(describe(launch, number), overlaps, _call(launch, places))


def _devices(launch: Launch) -> list[str]:
    return [f"At(device[{position}])" for position in range(len(launch.kernel.arguments))]


def _call(launch: Launch, places: Sequence[str]) -> str:
    """The arguments of `launch`."""
    kernel = launch.kernel
    grid = [str(each) for each in kernel.grid]
    samples = list[str]()
    if launch.samples:
        each, block = launch.samples.each, launch.samples.block
        blocks = f"samples * {each}" if each > 1 else "samples"
        blocks = f"({blocks} + {block - 1}) / {block}" if block > 1 else blocks
        blocks = f"({blocks}) * {launch.samples.times}" if launch.samples.times > 1 else blocks
        grid[launch.samples.axis] = f"(unsigned)({blocks})"
        samples = ["(int)samples"] if launch.samples.takes else []
    dims = [f"dim3({_dims(each)})" for each in (grid, list(map(str, kernel.block)))]
    head = [kernel.name, *dims, str(kernel.shared_bytes), "stream"]
    return _wrapped([*head, *places, *samples], 16)


def _dims(dims: Sequence[str]) -> str:
    used = max(position for position, each in enumerate(dims) if each != "1" or position == 0)
    return ", ".join(dims[: used + 1])


def _wrapped(parts: Sequence[str], indent: int) -> str:
    """Arguments in lines that are not too long."""
    lines, line = list[str](), ""
    for part in parts:
        longer = f"{line}, {part}" if line else part
        if line and indent + len(longer) > _WIDTH:
            lines.append(line)
            longer = part
        line = longer
    return (",\n" + " " * indent).join([*lines, line])
