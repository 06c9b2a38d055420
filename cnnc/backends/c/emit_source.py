"""Programs as one file of C99."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from math import prod

import numpy as np

from cnnc.backends.abi import UNKNOWN_STATUS, Abi, Status, fill_weights
from cnnc.backends.c.comments import describe_file, describe_kernel
from cnnc.backends.c.emit_kernel import Call, emit_kernel
from cnnc.backends.c.helpers import Helper, Preamble
from cnnc.backends.c.names import Names, identifier
from cnnc.backends.c.text import Block, narrow, unused, wrapped
from cnnc.base.errors import InternalError
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.base.templates import fill
from cnnc.loop.kernel import ALIGNMENT, Kernel, Place, Program, Region, Step, align

_INTERFACE = ("interface", "weights", "run")
"""Templates of the functions that others call."""


class Weights(Enum):
    """Where the weights of a file of C come from."""

    ABSENT = "absent"  # whoever calls brings them
    EXTERNAL = "external"  # NAME_weights_data is linked to it
    ARRAY = "array"  # they are in the text


@record
class Form:
    """What a file of C is made of, beside a program.

    `header` is included; without one the file declares what it defines. `payload` is where the
    program's constants begin in the weights. `shaped` are kernels with shapes and layouts, by their
    numbers in the program, for comments.
    """

    weights: Weights = Weights.ABSENT
    header: str | None = None
    payload: int = 64
    shaped: Mapping[int, Kernel] | None = None


def emit_source(program: Program, target: Target, abi: Abi, form: Form | None = None) -> str:
    """The program as text of C99, with the functions of the interface."""
    return _Source(program, target, abi, form or Form()).text()


def emit_kernels(
    program: Program, kernels: Sequence[int], abi: Abi, form: Form | None = None
) -> str:
    """Some distinct kernels of a program as functions of C, without what these call."""
    source = _Source(program, None, abi, form or Form())
    return "\n".join("\n".join([*source.kernel(number), ""]) for number in kernels)


@record
class InterfaceView:
    """What the templates of the interface may see."""

    name: str
    macro: str
    head: tuple[str, ...]
    statuses: tuple[tuple[str, str], ...]
    unknown: str
    data: str
    address: str
    samples: int | None
    part_signature: str
    run_signature: str
    null_test: str
    call: str
    run_call: str


@record
class GuardsView:
    """What the template of what must hold may see."""

    macro: str
    source: str
    header: str | None
    hash: str
    arena_bytes: int
    weights_bytes: int


@record
class DeclarationsView:
    """What the template of the declarations may see."""

    name: str
    macro: str
    alignment: int
    weights_bytes: int
    statuses: tuple[tuple[str, int], ...]
    functions: tuple[str, ...]


class _Source:
    def __init__(self, program: Program, target: Target | None, abi: Abi, form: Form) -> None:
        self.program = program
        self.target = target
        self.abi = abi
        self.form = form
        self.preamble = Preamble()
        if target and target.is_small:
            self.preamble.need(Helper("freestanding"))
        names = Names()
        self.ends = [replace(end, c_name=names.new(end.c_name)) for end in abi.ends]
        self.calls = tuple(_call(program, number, abi) for number in range(len(program.kernels)))

    def text(self) -> str:
        """The whole file."""
        kernels = ["\n".join(self.kernel(number)) for number in range(len(self.calls))]
        steps = "\n".join(self.steps())
        view = self._interface()
        interface = [narrow(fill(f"c/{name}.c", view)) for name in _INTERFACE]
        assert self.target is not None
        head = "\n".join(describe_file(self.program, self.target, self.abi))
        declared = f'#include "{self.form.header}"\n' if self.form.header else self._declarations()
        guards = fill("c/guards.c", self._guards())
        parts = [head, declared, guards, self.preamble.text, *kernels, steps, *interface]
        return "\n\n".join(part.strip("\n") for part in parts) + "\n"

    def kernel(self, number: int) -> Iterator[str]:
        """The lines of one kernel."""
        kernel = self.program.kernels[number]
        shaped = (self.form.shaped or {}).get(number)
        steps = [step for step in self.program.steps if step.kernel == number]
        # of a kernel that several layers share, the calls say where each has its buffers
        places = [self._described(place) for place in steps[0].places] if len(steps) == 1 else []
        yield from describe_kernel(kernel, shaped, [step.layer for step in steps], places)
        yield from emit_kernel(kernel, self.calls[number], self.preamble)

    def steps(self) -> Iterator[str]:
        """The function that calls all kernels in their order."""
        self.preamble.need(Helper("places"))
        abi, program = self.abi, self.program
        ends = [end.declaration for end in self.ends]
        samples = ["ptrdiff_t samples"] * (program.most_samples is not None)
        barrier = (f"{abi.name}_barrier *barrier", "void *context")
        threads = ["ptrdiff_t thread", "ptrdiff_t threads", *barrier]
        if not self._is_split:
            threads = []
        first = ["const void *weights", "void *arena"]
        together = [] if program.apart else samples
        yield from self._function("steps", [*first, *together, *ends, *threads], self._steps_body())
        if program.apart:
            yield ""
            parameters = [*first, *samples, *ends, *threads]
            yield from self._function("samples", parameters, self._samples_body())

    def _function(self, name: str, parameters: list[str], block: Block) -> Iterator[str]:
        yield from wrapped(f"static void {self.abi.name}_{name}({', '.join(parameters)})", "")
        body = list(block.lines(1))
        yield from ("{", *unused(parameters, body), *body, "}")

    def _samples_body(self) -> Block:
        """Each thread takes every so manieth sample, and all together what is left over."""
        program, abi, block = self.program, self.abi, Block()
        count = "samples" if program.most_samples is not None else str(program.repeats)
        if not self._is_split:
            alone = Block(
                f"for (sample = 0; sample < {count}; sample++)", items=[self._sample("arena", [])]
            )
            return Block(head=["ptrdiff_t sample;"], items=[alone])
        own = f"out(arena, {abi.scratch_offset} + (size_t)thread * {abi.scratch_bytes})"
        loop = Block("for (sample = thread; sample < even; sample += threads)")
        loop.items.append(self._sample(own, ["0", "1", "NULL", "NULL"]))
        even = f"{count} - {count} % threads" if program.shares_steps else count
        block.head = [f"const ptrdiff_t even = {even};", "ptrdiff_t sample;"]
        block.items.append(loop)
        if program.shares_steps:
            rest = Block(f"for (sample = even; sample < {count}; sample++)")
            rest.items.append(Block("if (threads > 1)", items=["barrier(context);"]))
            threads = ["thread", "threads", "barrier", "context"]
            rest.items.append(self._sample(f"out(arena, {abi.scratch_offset})", threads))
            block.items.append(rest)
        return block

    def _sample(self, arena: str, threads: list[str]) -> str:
        """The call of all steps for one sample."""
        ends = [f"{end.c_name} + sample * {prod(end.shape[1:])}" for end in self.ends]
        return f"{self.abi.name}_steps({', '.join(['weights', arena, *ends, *threads])});"

    @property
    def _is_split(self) -> bool:
        return self.program.is_shared

    def _steps_body(self) -> Block:
        block, alone = Block(), None
        program, abi = self.program, self.abi
        if program.scratch_bytes:
            start = align(program.arena_bytes) if program.apart else abi.scratch_offset
            own = f" + (size_t)thread * {abi.scratch_bytes}" if self._is_split else ""
            block.head.append(f"void *scratch = out(arena, {start}{own});")
        for step in program.steps:
            if step.barrier and self._is_split:
                alone = None
                block.items.append(Block("if (threads > 1)", items=["barrier(context);"]))
            if step.shared or not self._is_split:
                alone = None
                target = block
            else:
                if alone is None:
                    alone = Block("if (thread == 0)")
                    block.items.append(alone)
                target = alone
            target.items += [f"/* {step.layer} */"] * bool(step.layer)
            target.items.append(self._step(step))
        return block

    def _step(self, step: Step) -> str:
        kernel, call = self.program.kernels[step.kernel], self.calls[step.kernel]
        args = [
            self._place(place, written=param.name in kernel.outputs)
            for place, param in zip(step.places, kernel.params, strict=True)
        ]
        args += ["scratch"] * bool(kernel.scratch_bytes)
        args += ["samples"] * kernel.takes_samples
        if call.split:
            args += ["thread", "threads"] if step.shared else ["0", "1"]
        return f"{call.name}({', '.join(args)});"

    def _place(self, place: Place, *, written: bool) -> str:
        match place.region:
            case Region.INPUT:
                return self.ends[place.index].c_name
            case Region.OUTPUT:
                return self.ends[len(self.abi.inputs) + place.index].c_name
            case Region.WEIGHTS:
                return f"in(weights, {self.form.payload + place.offset})"
        return f"{'out' if written else 'in'}(arena, {place.offset})"

    def _described(self, place: Place) -> str:
        match place.region:
            case Region.INPUT | Region.OUTPUT:
                return self._place(place, written=False)
            case Region.WEIGHTS:
                return f"weights + {self.form.payload + place.offset}"
        return f"arena + {place.offset}"

    def _declarations(self) -> str:
        abi = self.abi
        builtin = [f"const {abi.name}_weights *{abi.name}_weights_builtin(void)"]
        functions = [
            f"const char *{abi.name}_strerror(int status)",
            f"int {abi.name}_weights_open(const void *data, size_t bytes, "
            f"const {abi.name}_weights **weights)",
            *builtin * (self.form.weights is not Weights.ABSENT),
            f"int {abi.name}_run({', '.join(abi.run_parameters)})",
            f"int {abi.name}_run_part({', '.join(abi.part_parameters)})",
        ]
        wide = tuple("\n".join(wrapped(each, "")) for each in functions)
        statuses = tuple((abi.status(each), int(each)) for each in Status)
        return fill(
            "c/declarations.c",
            DeclarationsView(abi.name, abi.macro, ALIGNMENT, abi.weights_bytes, statuses, wide),
        )

    def _guards(self) -> GuardsView:
        abi, header = self.abi, self.form.header
        return GuardsView(
            macro=abi.macro,
            source=f"{abi.name}.c",
            header=header,
            hash=f"0x{abi.hash:016x}",
            arena_bytes=abi.arena_bytes,
            weights_bytes=abi.weights_bytes,
        )

    def _interface(self) -> InterfaceView:
        abi = self.abi
        names = ["weights", "arena", *["samples"] * (abi.most_samples is not None)]
        names += [end.c_name for end in abi.ends]
        samples = ["(ptrdiff_t)samples"] * (abi.most_samples is not None)
        args = ["weights", "arena", *samples, *(end.c_name for end in abi.ends)]
        args += ["thread", "threads", "barrier", "context"] * self._is_split
        first = "samples" if self.program.apart else "steps"
        call = f"{abi.name}_{first}({', '.join(args)});"
        if not self._is_split:
            call = f"if (thread == 0) {{\n        {call}\n    }}\n    (void)context;"
        pointers = [name for name in names if name != "samples"]
        data, address = self._data()
        return InterfaceView(
            name=abi.name,
            macro=abi.macro,
            head=tuple(f"0x{byte:02x}" for byte in abi.head[:24]),
            statuses=tuple((abi.status(each), _quoted(abi.strerror(each))) for each in Status),
            unknown=UNKNOWN_STATUS,
            data=data,
            address=address,
            samples=abi.most_samples,
            part_signature=_signature(f"int {abi.name}_run_part", abi.part_parameters),
            run_signature=_signature(f"int {abi.name}_run", abi.run_parameters),
            null_test=" || ".join(f"{name} == NULL" for name in pointers),
            call=call,
            run_call=f"{abi.name}_run_part({', '.join([*names, '0', '1', 'NULL', 'NULL'])})",
        )

    def _data(self) -> tuple[str, str]:
        """The declaration or definition of the weights, and what points at them."""
        name = f"{self.abi.name}_weights_data"
        match self.form.weights:
            case Weights.ABSENT:
                return "", ""
            case Weights.EXTERNAL:
                return f"extern const unsigned char {name}[];\n", name
        return _array(name, weights_blob(self.program, self.abi)), f"&{name}"


def _quoted(text: str) -> str:
    """A string of C, in pieces where it is long."""
    return "\n            ".join(
        f'"{part}"' for part in textwrap.wrap(text, 76, drop_whitespace=False)
    )


def _signature(head: str, parameters: Sequence[str]) -> str:
    return "\n".join(wrapped(f"{head}({', '.join(parameters)})", ""))


def weights_blob(program: Program, abi: Abi) -> bytes:
    """The weights of a program as a file has them: head and payload."""
    if len(abi.payloads) != 1:
        raise InternalError("the weights of several versions are not those of one program")
    memory = np.zeros(abi.weights_bytes, np.uint8)
    fill_weights([program], abi, memory)
    return memory.tobytes()


def _array(name: str, data: bytes) -> str:
    """Bytes as an array of words in the order of a little-endian machine."""
    words = np.frombuffer(data, "<u4")
    rows = [words[at : at + 8] for at in range(0, len(words), 8)]
    lines = [f"    {', '.join(f'0x{word:08x}' for word in row)}," for row in rows]
    return "\n".join(
        [
            "#if defined(__GNUC__)",
            f"__attribute__((aligned({ALIGNMENT})))",
            "#endif",
            f"static const uint32_t {name}[{len(words)}] = {{",
            *lines,
            "};\n",
        ]
    )


def kernel_call(program: Program, number: int, abi: Abi) -> tuple[str, str]:
    """The name of a kernel's function, and arguments for one thread out of `buffers`.

    Behind the parameters, `buffers` has the scratch memory.
    """
    kernel, call = program.kernels[number], _call(program, number, abi)
    count = len(kernel.params) + bool(kernel.scratch_bytes)
    args = [f"buffers[{position}]" for position in range(count)]
    args += ["samples"] * kernel.takes_samples + ["0", "1"] * call.split
    return call.name, ", ".join(args)


def _call(program: Program, number: int, abi: Abi) -> Call:
    kernel = program.kernels[number]
    steps = [step for step in program.steps if step.kernel == number]
    shared = {name for step in steps for name in _overlapping(kernel, step)}
    split = any(step.shared for step in steps)
    return Call(f"{abi.name}_{identifier(kernel.name)}", split, frozenset(shared))


def _overlapping(kernel: Kernel, step: Step) -> Iterator[str]:
    """Parameters that share memory with one that is written, and those."""
    pairs = list(zip(kernel.params, step.places, strict=True))
    for param, place in pairs:
        if param.name not in kernel.outputs:
            continue
        end = place.offset + param.size * param.dtype.bytes
        for other, where in pairs:
            if other is param or (where.region, where.index) != (place.region, place.index):
                continue
            if place.offset < where.offset + other.size * other.dtype.bytes and where.offset < end:
                yield from (param.name, other.name)
