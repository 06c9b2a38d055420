"""Flat kernels as functions in C."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

from cnnc.backends.abi import C_TYPES
from cnnc.backends.c.expressions import Expressions
from cnnc.backends.c.helpers import Helper, Preamble
from cnnc.backends.c.names import Names
from cnnc.backends.c.pointers import (
    Level,
    Pointer,
    Pointing,
    home,
    pointing_inside,
    pointing_of,
    variables,
)
from cnnc.backends.c.text import Block, unused
from cnnc.backends.c.types import ATOM, EQUALITY, SUM, UNARY, Value, room
from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.loop.affine import Affine, affine
from cnnc.loop.expr import Buffer, Expr, Load, Ramp, Space
from cnnc.loop.kernel import (
    Alloc,
    Body,
    For,
    Kernel,
    Kind,
    Let,
    Prefetch,
    Stmt,
    Store,
    parallel_loops,
    scratch_offsets,
    walk,
)
from cnnc.loop.registers import register_widths
from cnnc.loop.unused import without_unused


@record
class Call:
    """How a kernel's function is called.

    If it is `split`, each thread runs its share of what is parallel. Buffers named `shared` may be
    the same memory as others.
    """

    name: str
    split: bool
    shared: frozenset[str] = frozenset()


def emit_kernel(kernel: Kernel, call: Call, preamble: Preamble) -> list[str]:
    """`static void name(params…, [void *scratch], [samples], [thread, threads])`.

    Where it is split, each parallel nest runs thread's share of its iterations, a turned one that
    of the thread as far from the last one, and what is not parallel runs on thread 0.
    """
    kernel = kernel.with_body(without_unused(kernel.body))
    return _Writer(kernel, call, preamble).function()


class _Writer:
    def __init__(self, kernel: Kernel, call: Call, preamble: Preamble) -> None:
        self.kernel = kernel
        self.call = call
        self.preamble = preamble
        self.names = Names()
        self.expressions = Expressions(preamble, self._load)
        self.widths = register_widths(kernel)
        self.offsets = {k: v for nest in kernel.body for k, v in scratch_offsets(nest).items()}
        scratch = [stmt.buffer for stmt in walk(kernel.body) if isinstance(stmt, Alloc)]
        self.written = {*kernel.outputs, *(buffer.name for buffer in scratch)}
        self.pointers = {each.name: Pointer(self.names.new(each.name), 0) for each in kernel.params}
        self.block = Block()
        self.levels = [Level(self.block, (), Pointing.HERE, depth=0, pointers={})]

    def function(self) -> list[str]:
        """All lines."""
        together: list[Stmt] = []
        for stmt in self.kernel.body:
            if not (self.call.split and isinstance(stmt, For) and stmt.kind is Kind.PARALLEL):
                together.append(stmt)  # a name may be meant for what follows
                continue
            self._alone(together)
            together = []
            self._parallel(stmt)
        self._alone(together)
        parameters = list(self._parameters())
        head = f"KERNEL void {self.call.name}({', '.join(parameters)})"
        body = list(self.block.lines(1))
        return [*Block(items=[head]).lines(0), "{", *unused(parameters, body), *body, "}"]

    def _parameters(self) -> Iterator[str]:
        for param in self.kernel.params:
            const = "" if param.name in self.kernel.outputs else "const "
            restrict = "" if param.name in self.call.shared else "restrict "
            yield f"{const}{C_TYPES[param.dtype]} *{restrict}{self.pointers[param.name].name}"
        if self.kernel.scratch_bytes:
            yield "void *scratch"
        if self.kernel.takes_samples:
            yield "ptrdiff_t samples"
        if self.call.split:
            yield from ("ptrdiff_t thread", "ptrdiff_t threads")

    def _alone(self, body: Sequence[Stmt]) -> None:
        if not body:
            return
        if not self.call.split:
            self._body(tuple(body))
            return
        with self._inside("if (thread == 0)", (), Pointing.HERE):
            self._body(tuple(body))

    def _parallel(self, nest: For) -> None:
        loops = parallel_loops(nest)
        body = loops[-1].body
        self.preamble.need(Helper("share"))
        inner = prod(loop.extent for loop in loops[1:])
        total = str(nest.extent * inner)
        if nest.samples:
            total = "samples" if inner == 1 else f"samples * {inner}"
        thread = "threads - 1 - thread" if nest.turned else "thread"
        following = "threads - thread" if nest.turned else "thread + 1"
        varying = [loop for loop in loops if loop.extent > 1 or (loop.samples and loop is nest)]
        for loop in loops:
            self.expressions.ranges[loop.var] = (0, loop.extent - 1)
            if loop not in varying:
                self.expressions.variables[loop.var] = 0
        single = len(varying) == 1
        self.names.open()
        task = self.names.new(varying[0].var) if single else "task"
        start = f"share({total}, {thread}, threads)"
        stop = f"share({total}, {following}, threads)"
        opening = f"for (ptrdiff_t {task} = {start}; {task} < {stop}; {task}++)"
        if single:
            self.expressions.variables[varying[0].var] = task
        self.names.close()
        variables = tuple(loop.var for loop in varying)
        with self._inside(opening, variables, pointing_inside(body)):
            if single:
                self.names.new(varying[0].var)
            else:
                self._decode(varying)
            self._body(body)

    def _decode(self, loops: Sequence[For]) -> None:
        """The variables of a parallel nest out of the number of the task."""
        divisor = 1
        for loop in reversed(loops):
            name = self.names.new(loop.var)
            self.expressions.variables[loop.var] = name
            text = "task" if divisor == 1 else f"task / {divisor}"
            text += "" if loop is loops[0] else f" % {loop.extent}"
            self.levels[-1].block.head.append(f"const ptrdiff_t {name} = {text};")
            divisor *= loop.extent

    @contextmanager
    def _inside(
        self, opening: str, variables: tuple[str, ...], pointing: Pointing
    ) -> Iterator[None]:
        block = Block(opening)
        self.levels[-1].block.items.append(block)
        kept = dict(self.expressions.locals), dict(self.pointers)
        self.names.open()
        self.levels.append(Level(block, variables, pointing, len(self.levels), {}))
        yield
        self.levels.pop()
        self.names.close()
        self.expressions.locals, self.pointers = kept

    def _put(self, line: str) -> None:
        self.levels[-1].block.items.append(line)

    def _body(self, body: Body) -> None:
        for stmt in body:
            match stmt:
                case For():
                    self._for(stmt)
                case Alloc(buffer):
                    self._alloc(buffer)
                case Let(name, value):
                    self._let(name, value)
                case Store(buffer, (index,), value):
                    self._store(buffer, index, self.expressions.value(value))
                case Prefetch(buffer, (index,), later):
                    self.preamble.need(Helper("prefetch"))
                    macro = "FETCH_LATER" if later else "FETCH"
                    self._put(f"{macro}({self._place(buffer, index)});")

    def _for(self, loop: For) -> None:
        self.expressions.ranges[loop.var] = (0, loop.extent - 1)
        if loop.extent == 1:
            self.expressions.variables[loop.var] = 0
            self._body(loop.body)
            return
        extent = "samples" if loop.samples else str(loop.extent)
        if loop.kind is Kind.UNROLLED or loop.reduces:
            self.preamble.need(Helper("unroll"))
            self._put(f"UNROLL({loop.extent})" if loop.kind is Kind.UNROLLED else "ROLLED")
        self.names.open()
        name = self.names.new(loop.var)
        self.names.close()
        self.expressions.variables[loop.var] = name
        opening = f"for (ptrdiff_t {name} = 0; {name} < {extent}; {name}++)"
        with self._inside(opening, (loop.var,), pointing_of(loop)):
            self.names.new(loop.var)
            self._body(loop.body)

    def _alloc(self, buffer: Buffer) -> None:
        name = self.names.new(buffer.name)
        self.pointers[buffer.name] = Pointer(name, len(self.levels) - 1)
        if buffer.space is Space.SCRATCH:
            self.preamble.need(Helper("places"))
            kind = C_TYPES[buffer.dtype]
            text = f"{kind} *{name} = out(scratch, {self.offsets[buffer.name]});"
            self.levels[-1].block.head.append(text)
            return
        width = self.widths[buffer.name]
        kind = self._element(buffer.dtype, width)
        self._put(f"{kind} {name}[{buffer.size // width}];")

    def _element(self, dtype: DType, width: int) -> str:
        """The type of an element of a register array of vectors."""
        if width == 1:
            return C_TYPES[dtype]
        return self.preamble.vector("u8" if dtype is DType.BOOL else str(dtype), width)

    def _let(self, name: str, expr: Expr) -> None:
        write = self.expressions.index if expr.dtype is None else self.expressions.value
        value = write(expr)
        written = self.names.new(name)
        self._put(f"const {value.c_type} {written} = {_stored(value)};")
        self.expressions.locals[name] = Value(written, ATOM, value.dtype, value.lanes, value.mask)

    def _place(self, buffer: Buffer, index: Expr) -> str:
        """A pointer to an element, as an argument."""
        pointer, rest = self._split(buffer, index)
        return pointer if rest.text == "0" else f"{pointer} + {rest.text}".replace("+ -", "- ")

    def _split(self, buffer: Buffer, index: Expr) -> tuple[str, Value]:
        """A pointer, and what is left of an index behind it."""
        form = affine(index)
        pointer = self.pointers[buffer.name]
        constant, rest = form.constant, list[tuple[Expr, int]]()
        here: dict[int, list[tuple[Expr, int]]] = {}
        for term, factor in form.terms:
            if (number := self.expressions.known(term)) is not None:
                constant += number * factor
            elif (depth := home(term, self.levels)) is None or depth < pointer.depth:
                rest.append((term, factor))
            else:
                here.setdefault(depth, []).append((term, factor))
        for depth in sorted(here):
            pointer = self._advance(pointer, self.levels[depth], buffer, here[depth])
        return pointer.name, self.expressions.sum(Affine(tuple(rest), constant))

    def _advance(
        self, pointer: Pointer, level: Level, buffer: Buffer, terms: list[tuple[Expr, int]]
    ) -> Pointer:
        key = (pointer.name, tuple(terms))
        if (found := level.pointers.get(key)) is None:
            last = max(variables(terms[-1][0]), default="")
            name = self.names.new(f"{buffer.name}_{last}", level.depth)
            found = level.pointers[key] = Pointer(name, level.depth)
            const = "" if buffer.name in self.written else "const "
            step = self.expressions.sum(Affine(tuple(terms), 0)).text
            level.block.head.append(
                f"{const}{C_TYPES[buffer.dtype]} *{name} = {pointer.name} + {step};"
            )
        return found

    def _store(self, buffer: Buffer, index: Expr, value: Value) -> None:
        if buffer.space is Space.REGISTER:
            width = self.widths[buffer.name]
            base = index.base if isinstance(index, Ramp) else index
            text = self._memory(value, width)
            self._put(f"{self._slot(buffer, base)} = {text};")
            return
        match index:
            case Ramp(base, width, stride):
                text, place = self._memory(value, width), self._place(buffer, base)
                function, more = self._access("store", buffer.dtype, width, stride)
                self._put(f"{function}({', '.join([place, *more, text])});")
            case _:
                self._put(f"{self._element_at(buffer, index)} = {self._memory(value, 1)};")

    def _load(self, load: Load) -> Value:
        """See Expressions."""
        buffer, (index,) = load.buffer, load.index
        dtype, lanes = buffer.dtype, index.lanes
        if buffer.space is Space.REGISTER:
            text = self._register(buffer, index)
        else:
            match index:
                case Ramp(base, width, stride):
                    place = self._place(buffer, base)
                    function, more = self._access("load", dtype, width, stride)
                    text = f"{function}({', '.join([place, *more])})"
                case _:
                    text = self._element_at(buffer, index)
        if dtype is not DType.BOOL:
            return Value(text, ATOM, dtype, lanes)
        if lanes == 1:
            return Value(f"{text} != 0", EQUALITY, dtype)
        kind = self.preamble.vector("i8", lanes)
        zero = self.preamble.call("splat", DType.U8, lanes)
        return Value(f"({kind})({text} != {zero}(0))", UNARY, dtype, lanes, 8)

    def _access(self, verb: str, dtype: DType, width: int, stride: int) -> tuple[str, list[str]]:
        """The function that loads or stores a vector, and the stride where it takes one."""
        dtype = DType.U8 if dtype is DType.BOOL else dtype
        if stride != 1:
            name = self.preamble.call(f"{verb}_strided", dtype, width, part=width)
            return name, [str(stride)]
        if width != room(width):
            return self.preamble.call(f"{verb}_part", dtype, width, part=width), []
        return self.preamble.call(verb, dtype, width), []

    def _register(self, buffer: Buffer, index: Expr) -> str:
        width = self.widths[buffer.name]
        if isinstance(index, Ramp):
            return self._slot(buffer, index.base)
        if width == 1:
            return self._slot(buffer, index)
        place, name = self.expressions.index(index), self.pointers[buffer.name].name
        if (number := self.expressions.known(index)) is not None:
            return f"{name}[{number // width}][{number % width}]"
        return f"{name}[{place.within(UNARY)} / {width}][{place.within(UNARY)} % {width}]"

    def _slot(self, buffer: Buffer, index: Expr) -> str:
        place = self.expressions.sum(affine(index), self.widths[buffer.name])
        return f"{self.pointers[buffer.name].name}[{place.text}]"

    def _element_at(self, buffer: Buffer, index: Expr) -> str:
        pointer, rest = self._split(buffer, index)
        return f"{pointer}[{rest.text}]"

    def _memory(self, value: Value, lanes: int) -> str:
        """A value as it is stored, in so many lanes."""
        if value.dtype is not DType.BOOL or lanes == 1:
            return self.expressions.wide(value, lanes) if lanes > 1 else _stored(value)
        mask = self.expressions.mask(value, lanes, 8)
        return f"({self.preamble.vector('u8', lanes)})({mask.within(SUM)} & 1)"


def _stored(value: Value) -> str:
    """A value for a variable of its type: a truth value is a byte."""
    if value.dtype is DType.BOOL and value.lanes == 1:
        return f"(uint8_t)({value.text})"
    return value.text
