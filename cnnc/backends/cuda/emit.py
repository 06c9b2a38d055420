"""Flat kernels as `__global__` functions: the iterations of parallel loops are threads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from cnnc.backends.cuda.expressions import TYPES, Printer, Text, value_type
from cnnc.backends.cuda.kernel import Wish
from cnnc.backends.cuda.wide import Wide, is_used, widen
from cnnc.base.dtype import DType
from cnnc.base.errors import InternalError
from cnnc.loop.expr import Buffer, Expr, Load, Space
from cnnc.loop.kernel import (
    Alloc,
    Body,
    For,
    Kernel,
    Kind,
    Let,
    Stmt,
    Store,
    parallel_loops,
    scratch_offsets,
)
from cnnc.loop.task import SUM, Task

THREADS = 128
"""Threads of a block: enough to hide latency, and a short last block."""
WIDTH = 100
_WIDE = 2**31 - 1 - 2**16
"""Numbers of elements, or of threads, from which on 32 bits do not suffice."""
_WORDS = """
alignas alignof and asm auto bool break case catch char class const continue default delete do
double else enum explicit export extern false float for friend goto if inline int long new not
operator or private protected public register return short signed sizeof static struct switch
template this throw true try typedef typename union unsigned using virtual void volatile while xor
exp log pow sqrt fabs floor ceil round min max exponent mantissa scaled thread samples minimum i
maximum lesser larger signbit isnan isinf
"""
_TAKEN = frozenset(_WORDS.split())
"""Words that nothing in a kernel is called."""


@dataclass
class Lines:
    """Lines of a function, indented."""

    depth: int = 1
    found: list[str] = field(default_factory=list)

    def put(self, line: str) -> None:
        """One more line, or several where it is too long."""
        self.found += wrapped(line, "    " * self.depth)


def wrapped(line: str, pad: str) -> list[str]:
    """The line in pieces, the later ones further to the right."""
    found, inner = list[str](), pad
    while len(inner) + len(line) > WIDTH:
        room = WIDTH - len(inner)
        cut = line.rfind(", ", room // 3, room) + 1 or line.rfind(" ", 1, room)
        if cut <= 0:
            break
        found.append(inner + line[:cut].rstrip())
        line, inner = line[cut:].lstrip(), pad + "    "
    return [*found, inner + line]


def threads_of(kernel: Kernel, wish: Wish) -> int:
    """How many threads the kernel has work for; of all samples, where these may be fewer."""
    return sum(
        prod(loop.extent for loop in _shared(nest)[0]) // width_of(nest, wish)
        for nest in _nests(kernel)
    )


def threads_per_sample(kernel: Kernel, wish: Wish) -> int:
    """The same for one sample, where the kernel takes their number."""
    return sum(
        prod(loop.extent for loop in _shared(nest)[0][1:]) // width_of(nest, wish)
        for nest in _nests(kernel)
    )


def widest(kernel: Kernel, wish: Wish) -> int:
    """How many neighbours a thread does at most."""
    return max(width_of(nest, wish) for nest in _nests(kernel))


def width_of(nest: Body, wish: Wish) -> int:
    """How many neighbours a thread of a nest does."""
    wide = widen(*_shared(nest), wish)
    return wide.width if wide else 1


def is_large(kernel: Kernel) -> bool:
    """Whether its indices need 64 bits."""
    elements = [prod(loop.extent for loop in _shared(nest)[0]) for nest in _nests(kernel)]
    return max(sum(elements), *(param.size for param in kernel.params)) > _WIDE


def signature(kernel: Kernel, name: str, narrow: Mapping[str, str]) -> str:
    """How the function is declared."""
    params = [parameter(kernel, each, narrow) for each in kernel.params]
    params += ["int samples"] if kernel.takes_samples else []
    return f'extern "C" __global__ void __launch_bounds__({THREADS}) {name}({", ".join(params)})'


def parameter(kernel: Kernel, buffer: Buffer, narrow: Mapping[str, str]) -> str:
    """A buffer as a parameter.

    What is as large as a result may lie in the same memory, and is not declared to lie apart.
    """
    const = "" if buffer.name in kernel.outputs else "const "
    apart = "CNNC_READ_ONLY " * (bool(const) and not _may_be_written(kernel, buffer))
    kind = narrow.get(buffer.name, TYPES[buffer.dtype])
    return f"{const}{kind} *{apart}{_plain(buffer.name)}"


def _may_be_written(kernel: Kernel, buffer: Buffer) -> bool:
    sizes = [(each.size, each.dtype) for each in kernel.params if each.name in kernel.outputs]
    return (buffer.size, buffer.dtype) in sizes


def emit_kernel(kernel: Kernel, name: str, wish: Wish) -> str:
    """The text of the function."""
    kind = "int64_t" if is_large(kernel) else "int"
    lines = Lines()
    lines.put("cnnc::wait_for_previous();")
    lines.put("cnnc::let_next_start();")
    whole = f"(int64_t)blockIdx.x * {THREADS} + threadIdx.x"
    nests = _nests(kernel)
    lines.put(f"{'const ' * (len(nests) == 1)}{kind} thread = {_index(whole, kind)};")
    for number, nest in enumerate(nests):
        _Nest(kernel, lines, kind, wish).emit(nest, is_last=number == len(nests) - 1)
    return (
        "\n".join([*wrapped(signature(kernel, name, wish.types), ""), "{", *lines.found, "}"])
        + "\n"
    )


def tail_text(task: Task, names: Mapping[str, str]) -> list[str]:
    """What becomes of a sum, as lines: `names` says what `sum`, `n`, `oc`, `oh`, … are called."""
    assert task.tail is not None
    lines = Lines(0)
    nest = _Nest(None, lines, "int", Wish(""))
    axes = task.params[-1].shape
    letters = [name for name in names if name != SUM]
    for name, extent in zip(letters, axes, strict=True):
        nest.printer.variables[name] = names[name]
        # more than one, so that no index is taken for the only one there is
        nest.printer.ranges[name] = (0, max(1, extent - 1))
    nest.printer.locals[SUM] = names[SUM]
    nest.body(task.tail.body)
    return lines.found


def _index(text: str, kind: str) -> str:
    return text if kind == "int64_t" else f"({kind})({text.replace('(int64_t)', '')})"


def _nests(kernel: Kernel) -> list[tuple[Stmt, ...]]:
    """Parallel nests, each with the statements before it that belong to it."""
    found: list[tuple[Stmt, ...]] = []
    for stmt in kernel.body:
        is_parallel = isinstance(stmt, For) and stmt.kind is Kind.PARALLEL
        if is_parallel or not found or _is_parallel(found[-1]):
            found.append((stmt,))
        else:
            found[-1] = (*found[-1], stmt)
    return found


def _is_parallel(nest: Sequence[Stmt]) -> bool:
    first = nest[0]
    return isinstance(first, For) and first.kind is Kind.PARALLEL


def _shared(nest: Body) -> tuple[list[For], Body]:
    """The loops of a nest whose iterations are threads, and what each of them does."""
    loops = parallel_loops(nest[0]) if len(nest) == 1 else []
    return loops, loops[-1].body if loops else nest


class _Nest:
    """Writes one nest of loops."""

    def __init__(self, kernel: Kernel | None, lines: Lines, kind: str, wish: Wish) -> None:
        self.wish = wish
        self.at_once: dict[Load, str] = {}
        self.kernel = kernel
        self.lines = lines
        self.kind = kind
        self.printer = Printer(self._load, {"": kind})
        self.names: dict[str, str] = {}
        self.used: set[str] = set(_TAKEN)
        self.scratch: dict[str | None, int] = {}
        for param in kernel.params if kernel else ():
            self.names[param.name] = self._fresh(_plain(param.name))

    def emit(self, nest: Body, *, is_last: bool) -> None:
        """The nest as a part of the function: threads beyond its own go on to the next."""
        loops, body = _shared(nest)
        wide = widen(loops, body, self.wish)
        width = wide.width if wide else 1
        for stmt in nest:
            self.scratch |= scratch_offsets(stmt)
        total = str(prod(loop.extent for loop in loops) // width)
        if loops and loops[0].samples:
            rest = prod(loop.extent for loop in loops[1:]) // width
            total = f"({self.kind})samples * {rest}" if rest > 1 else "samples"
        if is_last:
            self.lines.put("if (thread >= " + total + ") {")
            self.lines.put("    return;")
            self.lines.put("}")
        else:
            self.lines.put("if (thread < " + total + ") {")
            self.lines.depth += 1
        self._positions(loops, width)
        if wide:
            self._wide(wide, body)
        else:
            self.body(body)
        if not is_last:
            self.lines.put("return;")
            self.lines.depth -= 1
            self.lines.put("}")
            self.lines.put(f"thread -= {total};")

    def _positions(self, loops: Sequence[For], width: int) -> None:
        """Names for what a thread does; the first of several, which are along the last loop."""
        rest = 1
        for loop in reversed(loops):
            step = width if loop is loops[-1] else 1
            count = loop.extent // step
            self.printer.ranges[loop.var] = (0, loop.extent - step)
            if count > 1:
                name = self._fresh(_plain(loop.var))
                value = "thread" if rest == 1 else f"thread / {rest}"
                value += "" if loop is loops[0] else f" % {count}"
                value += f" * {step}" * (step > 1)
                self.printer.variables[loop.var] = name
                self.lines.put(f"const {self.kind} {name} = {value};")
            rest *= count

    def _wide(self, wide: Wide, body: Body) -> None:
        """Neighbours: all is read, computed one by one, and stored."""
        *lets, store = body
        assert self.kernel
        assert isinstance(store, Store)
        changes = {each.name for each in self.kernel.params if _may_be_written(self.kernel, each)}
        for load in wide.loads:
            name = self._fresh(f"{self.names[load.buffer.name]}_v")
            move = "copy" if load.buffer.name in changes else "load"
            element = self._element(load.buffer, load.index[0])
            self.lines.put(f"float {name}[{wide.width}];")
            self.lines.put(f"cnnc::{move}({name}, &{element});")
            self.at_once[load] = f"{name}[i]"
        made, target = self._fresh("made"), self._element(store.buffer, store.index[0])
        self.lines.put(f"float {made}[{wide.width}];")
        self.lines.found.append("#pragma unroll")
        self.lines.put(f"for (int i = 0; i < {wide.width}; ++i) {{")
        self.lines.depth += 1
        values = [each.value for each in (*lets, store) if isinstance(each, Let | Store)]
        if any(is_used(wide.var, value, wide) for value in values):
            name = self._fresh(f"{_plain(wide.var)}_i")
            first = self.printer.variables.get(wide.var)
            self.lines.put(f"const {self.kind} {name} = {f'{first} + i' if first else 'i'};")
            self.printer.variables[wide.var] = name
            self.printer.ranges[wide.var] = (0, self.printer.ranges[wide.var][1] + wide.width - 1)
        self.body(lets)
        self.lines.put(f"{made}[i] = {self.printer.value(store.value)[0]};")
        self.lines.depth -= 1
        self.lines.put("}")
        self.lines.put(f"cnnc::store(&{target}, {made});")

    def body(self, body: Sequence[Stmt]) -> None:
        """Statements, in the scope that is open."""
        for stmt in body:
            match stmt:
                case For():
                    self._for(stmt)
                case Alloc(buffer):
                    self._alloc(buffer)
                case Let(name, value):
                    text = self.printer.value(value) if value.dtype else self.printer.index(value)
                    found = self.printer.locals[name] = self._fresh(_plain(name))
                    kind = value_type(value.dtype, self.kind)
                    self.lines.put(f"const {kind} {found} = {text[0]};")
                case Store(buffer, (index,), value):
                    self._store(self._element(buffer, index), buffer, value)
                case _:
                    raise InternalError(f"no CUDA for {type(stmt).__name__}", stage="cuda")

    def _for(self, loop: For) -> None:
        kept = set(self.used)
        self.printer.ranges[loop.var] = (0, loop.extent - 1)
        if loop.extent == 1:
            self.lines.put("{")
        else:
            name = self._fresh(_plain(loop.var))
            self.printer.variables[loop.var] = name
            head = f"{self.kind} {name} = 0; {name} < {loop.extent}; ++{name}"
            self.lines.put(f"for ({head}) {{")
        self.lines.depth += 1
        self.body(loop.body)
        self.lines.depth -= 1
        self.lines.put("}")
        self.used = kept

    def _alloc(self, buffer: Buffer) -> None:
        if buffer.space is not Space.REGISTER:
            raise InternalError("a thread of a GPU has no scratch memory", stage="cuda")
        name = self.names[buffer.name] = self._fresh(_plain(buffer.name))
        kind = value_type(buffer.dtype, self.kind)
        self.lines.put(f"{kind} {name}{f'[{buffer.size}]' * (buffer.size > 1)};")

    def _store(self, element: str, buffer: Buffer, value: Expr) -> None:
        text, _ = self.printer.value(value)
        is_narrow = self._is_narrow(buffer)
        self.lines.put(
            f"cnnc::round_to({element}, {text});" if is_narrow else f"{element} = {text};"
        )

    def _is_narrow(self, buffer: Buffer) -> bool:
        return buffer.name in self.wish.narrow and buffer.space is Space.MEMORY

    def _load(self, load: Load) -> Text:
        if load in self.at_once:
            return self.at_once[load], 0
        (index,) = load.index
        text = self._element(load.buffer, index)
        if self._is_narrow(load.buffer):
            if self.kernel and load.buffer.name in self.kernel.outputs:
                raise InternalError("what was rounded is computed with further", stage="cuda")
            return f"cnnc::to_float({text})", 0
        if load.buffer.dtype is DType.BOOL and load.buffer.space is not Space.REGISTER:
            return f"({text} != 0)", 0
        return text, 0

    def _element(self, buffer: Buffer, index: Expr) -> str:
        name = self.names.get(buffer.name) or _plain(buffer.name)
        if buffer.space is Space.REGISTER and buffer.size == 1:
            return name
        return f"{name}[{self.printer.index(index)[0]}]"

    def _fresh(self, name: str) -> str:
        found, number = name, 1
        while found in self.used:
            number += 1
            found = f"{name}_{number}"
        self.used.add(found)
        return found


def _plain(name: str) -> str:
    """The name with what C++ does not allow replaced."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return plain if plain[:1].isalpha() else f"x{plain}"
