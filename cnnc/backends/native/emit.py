"""Flat kernels to LLVM IR."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod

from cnnc.backends.native import ir, values
from cnnc.backends.native.arguments import Argument, arguments_of, in_order
from cnnc.backends.native.indices import Indices
from cnnc.backends.native.lanes import Memory, taken
from cnnc.backends.native.registers import Registers
from cnnc.backends.native.signature import TAKE, kernel_type, take_type, word_of
from cnnc.base.target import Target
from cnnc.loop.expr import (
    Binary,
    Buffer,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Lanes,
    Load,
    Local,
    Ramp,
    Select,
    Space,
    children,
)
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
)
from cnnc.loop.registers import register_widths


def emit_kernel(module: ir.Module, kernel: Kernel, target: Target) -> ir.Function:
    """Add `void kernel(params…, word thread, word threads)` to the module.

    A word is an integer as wide as an address.

    A kernel with scratch memory takes the calling thread's part of it behind the parameters.

    Each parallel nest runs thread's share of its iterations, a turned one that of the thread as far
    from the last one; what is not parallel runs on thread 0.
    A kernel one of whose nests is handed out takes the runtime's barrier behind these, as `ptr`,
    and a kernel with loops over samples their number as `word samples` behind the others.
    """
    function = ir.Function(module, kernel_type(kernel, word_of(target)), kernel.name)
    function.attributes |= {"nounwind", f'"tune-cpu"="{target.tuning}"'}
    if target.is_small:
        # there may be no memset, which LLVM would make of loops
        function.attributes |= {"optsize", '"no-builtins"'}
    _Emitter(function, kernel, values.arithmetic_of(target), word_of(target)).run()
    return function


class _Emitter:
    """State while one function is written."""

    def __init__(
        self,
        function: ir.Function,
        kernel: Kernel,
        arithmetic: values.Arithmetic,
        word: ir.IntType,
    ) -> None:
        self.kernel = kernel
        self.word = word
        self.function = function
        self.entry = function.append_basic_block("entry")
        self.builder = ir.IRBuilder(function.append_basic_block("body"))
        self.arithmetic = arithmetic
        own, rest = function.args[: len(kernel.params)], function.args[len(kernel.params) :]
        self.behind = dict(zip(arguments_of(kernel), rest, strict=True))
        self.buffers = own
        self.thread, self.threads = self.behind[Argument.THREAD], self.behind[Argument.THREADS]
        self.offsets = {k: v for nest in kernel.body for k, v in scratch_offsets(nest).items()}
        self.pointers = {
            param.name: argument for param, argument in zip(kernel.params, own, strict=True)
        }
        self.widths = register_widths(kernel)
        self.registers = Registers(self.builder, self.entry, self.widths, word)
        self.indices = Indices(self.builder, word)
        self.locals: dict[str, ir.Value] = {}
        self.memo: list[dict[object, ir.Value]] = [{}]

    def run(self) -> None:
        """Write the whole function."""
        together: list[Stmt] = []
        for stmt in self.kernel.body:
            if not (isinstance(stmt, For) and stmt.kind is Kind.PARALLEL):
                together.append(stmt)  # a name may be meant for what follows
                continue
            self._alone(together)
            together = []
            self._parallel(stmt)
        self._alone(together)
        self.end()

    def end(self) -> None:
        """Nothing follows."""
        self.builder.ret_void()
        ir.IRBuilder(self.entry).branch(self.function.blocks[1])

    def _alone(self, body: Sequence[Stmt]) -> None:
        if body:
            with self._only_first_thread():
                self._body(tuple(body))
                self.registers.settle()

    @contextmanager
    def _only_first_thread(self) -> Iterator[None]:
        first = self.builder.icmp_signed("==", self.thread, self.word(0))
        with self.builder.if_then(first), self._scope():
            yield

    def _parallel(self, nest: For) -> None:
        b, loops = self.builder, parallel_loops(nest)
        total: ir.Value = self.word(prod(loop.extent for loop in loops))
        if nest.samples:
            total = b.mul(self._extent(nest), self.word(prod(loop.extent for loop in loops[1:])))
        if nest.grain:
            self._take(nest, total)
            return
        thread = self.thread
        if nest.turned:
            thread = b.sub(b.sub(self.threads, self.word(1)), thread)
        start = b.udiv(b.mul(total, thread), self.threads)
        stop = b.udiv(b.mul(total, b.add(thread, self.word(1))), self.threads)
        self._iterations(nest, start, stop)

    def _iterations(self, nest: For, start: ir.Value, stop: ir.Value) -> None:
        """Some iterations of the parallel loops of a nest, counted as if they were one."""
        loops = parallel_loops(nest)

        def iteration(task: ir.Value) -> None:
            rest: ir.Value = task
            for loop in reversed(loops):
                extent = self.word(loop.extent)
                last = loop is loops[0]
                self.indices.numbers[loop.var] = rest if last else self.builder.urem(rest, extent)
                rest = self.builder.udiv(rest, extent)
                if loop.extent == 1:
                    self.indices.numbers[loop.var] = 0
            self._body(loops[-1].body)

        self._loop(start, stop, iteration)

    def _take(self, nest: For, total: ir.Value) -> None:
        """Iterations as the runtime hands them out.

        They are a function of their own, so that nothing but what they need is in registers.
        """
        b, word, module = self.builder, self.word, self.function.module
        taken = ir.IRBuilder(self.entry).alloca(ir.ArrayType(word, 3))
        stop_at, further_at = (b.gep(taken, [word(i)], source_etype=word) for i in (1, 2))
        b.store(word(-1), further_at)
        take = module.globals.get(TAKE) or ir.Function(module, take_type(word), TAKE)
        how = [total, word(nest.grain), ir.IntType(1)(nest.turned)]
        head, inside, after = map(b.append_basic_block, ("take", "taken", "none"))
        b.branch(head)
        b.position_at_end(head)
        barrier = self.behind[Argument.BARRIER]
        some = b.call(take, [barrier, taken, self.thread, self.threads, *how])
        b.cbranch(some, inside, after)
        b.position_at_end(inside)
        bounds = [b.load(taken, typ=word), b.load(stop_at, typ=word)]
        behind = self.behind | dict(zip((Argument.THREAD, Argument.THREADS), bounds, strict=True))
        b.call(self._tasks_of(nest), [*self.buffers, *in_order(self.kernel.in_parts(), behind)])
        b.branch(head)
        b.position_at_end(after)

    def _tasks_of(self, nest: For) -> ir.Function:
        """`void tasks(params…, word start, word stop)`: some iterations of a nest."""
        kernel, module = self.kernel.in_parts(), self.function.module
        kind = kernel_type(kernel, self.word)
        function = ir.Function(module, kind, f"{kernel.name}.tasks{len(module.globals)}")
        function.linkage = "internal"
        function.attributes |= {"noinline", *self.function.attributes}
        inner = _Emitter(function, kernel, self.arithmetic, self.word)
        inner._iterations(nest, inner.thread, inner.threads)
        inner.end()
        return function

    def _loop(self, start: ir.Value, stop: ir.Value, iteration: Callable[[ir.Value], None]) -> None:
        def body(index: ir.Value) -> None:
            with self._scope():
                iteration(index)
            self.registers.settle()

        self.registers.settle()
        self.builder.count(start, stop, self.word(1), body)

    @contextmanager
    def _scope(self) -> Iterator[None]:
        self.memo.append({})
        kept = dict(self.locals)
        yield
        self.locals = kept
        self.memo.pop()

    def _body(self, body: Body) -> None:
        for stmt in body:
            match stmt:
                case For():
                    self._for(stmt)
                case Alloc(buffer):
                    self._alloc(buffer)
                case Let(name, value):
                    self.locals[name] = self.value(value)
                case Store(buffer, (index,), value):
                    self._store(buffer, index, self.value(value))
                case Prefetch(buffer, (index,), later):
                    values.prefetch(self.builder, self._address(buffer, index), later=later)

    def _for(self, loop: For) -> None:
        if loop.kind is Kind.UNROLLED or loop.extent == 1:
            for step in range(loop.extent):
                self.indices.numbers[loop.var] = step
                self._body(loop.body)
            return

        def iteration(index: ir.Value) -> None:
            self.indices.numbers[loop.var] = index
            self._body(loop.body)

        self._loop(self.word(0), self._extent(loop), iteration)

    def _extent(self, loop: For) -> ir.Value:
        """How often a loop runs: as often as there are samples, if it is over these."""
        return self.behind[Argument.SAMPLES] if loop.samples else self.word(loop.extent)

    def _alloc(self, buffer: Buffer) -> None:
        if buffer.space is Space.SCRATCH:
            scratch = self.behind[Argument.SCRATCH]
            place = self.word(self.offsets[buffer.name])
            byte = ir.IntType(8)
            self.pointers[buffer.name] = self.builder.gep(scratch, [place], source_etype=byte)
            return
        self.pointers[buffer.name] = self.registers.allocate(buffer)

    def _address(self, buffer: Buffer, index: Expr) -> ir.Value:
        """Pointer to an element; the part that varies is shared between constant offsets."""
        base = self.pointers[buffer.name]
        varying, constant = self.indices.split(index)
        element: ir.Type = values.memory_type(buffer.dtype, 1)
        if buffer.space is Space.REGISTER:
            width = self.widths[buffer.name]
            element = values.memory_type(buffer.dtype, width)
            varying = {term: k // width for term, k in varying.items()} if varying else varying
            constant //= width
        pointer = base
        if varying:
            key = (base, tuple(varying.items()))
            pointer = self._remember(
                key,
                lambda: self.builder.gep(base, [self.indices.total(varying)], source_etype=element),
            )
        if constant:
            pointer = self.builder.gep(pointer, [self.word(constant)], source_etype=element)
        return pointer

    def _remember(self, key: object, make: Callable[[], ir.Value]) -> ir.Value:
        for memo in reversed(self.memo):
            if key in memo:
                return memo[key]
        self.memo[-1][key] = make()
        return self.memo[-1][key]

    def _vectors_in(self, buffer: Buffer) -> Memory:
        address = partial(self._address, buffer)
        return Memory(buffer.dtype, address, _alignment(buffer), self.arithmetic.has_masks)

    def _store(self, buffer: Buffer, index: Expr, value: ir.Value) -> None:
        value = values.to_memory(self.builder, value, buffer.dtype)
        if (slot := self._slot(buffer, index)) is not None:
            self.registers.store(buffer, slot, values.splat(self.builder, value, index.lanes))
        elif isinstance(index, Ramp):
            self._vectors_in(buffer).store(self.builder, value, index)
        else:
            self.builder.store(value, self._address(buffer, index), align=_alignment(buffer))

    def _load(self, buffer: Buffer, index: Expr) -> ir.Value:
        return values.from_memory(self.builder, self._stored(buffer, index), buffer.dtype)

    def _stored(self, buffer: Buffer, index: Expr) -> ir.Value:
        """What lies in memory there."""
        if self.widths.get(buffer.name, 1) > index.lanes:
            return self._lane(buffer, index)
        if (slot := self._slot(buffer, index)) is not None:
            return self.registers.load(buffer, slot)
        if isinstance(index, Ramp):
            return self._vectors_in(buffer).load(self.builder, index)
        kind = values.memory_type(buffer.dtype, 1)
        return self.builder.load(self._address(buffer, index), align=_alignment(buffer), typ=kind)

    def _lane(self, buffer: Buffer, index: Expr) -> ir.Value:
        """One lane of a register array of vectors, known where the loop around is unrolled."""
        width, place = self.widths[buffer.name], self.indices.number(index)
        if not isinstance(place, int):
            raise ValueError(f"a lane of register array {buffer.name} is known at run time only")
        vector = self.registers.load(buffer, place // width)
        return self.builder.extract_element(vector, ir.IntType(32)(place % width))

    def _slot(self, buffer: Buffer, index: Expr) -> int | None:
        """Which slot of a register array it is; None in memory, or if it is known at run time."""
        if buffer.space is not Space.REGISTER:
            return None
        width = self.widths[buffer.name]
        base, stride = (index.base, index.stride) if isinstance(index, Ramp) else (index, 1)
        varying, constant = self.indices.split(base)
        if stride != 1 or (not varying and constant % width):
            raise ValueError(f"a vector of register array {buffer.name} lies in two of its slots")
        if varying:
            self.registers.settle()
            return None
        return constant // width

    def value(self, expr: Expr) -> ir.Value:
        """The value of an expression that is no index."""
        match expr:
            case Const(value, dtype) if dtype is not None:
                return ir.Constant(values.llvm_type(dtype, 1), values.literal(value, dtype))
            case Local(name, _, _):
                return self.locals[name]
            case Load(buffer, (index,)):
                return self._load(buffer, index)
            case Compare(op, left, right) if left.dtype is None:
                a, b = (self.indices.value(side) for side in (left, right))
                return self.builder.icmp_signed(values.COMPARISONS[op], a, b)
            case Cast(Ramp(base, width, stride), dtype):
                first = self.indices.value(base)
                return values.ramp(self.builder, first, width, stride, dtype)
            case Cast(index, dtype) if index.dtype is None:
                number = self.indices.value(index)
                return values.cast_index(self.builder, number, dtype)
        args = [self.value(part) for part in children(expr)]
        args = values.same_lanes(self.builder, args, keep_first=isinstance(expr, Select))
        return self._combined(expr, args)

    def _combined(self, expr: Expr, args: list[ir.Value]) -> ir.Value:
        """An operation on values."""
        match expr:
            case Cast(inner, dtype) if inner.dtype is not None:
                return values.cast(self.builder, args[0], inner.dtype, dtype)
            case Fma():
                return self.arithmetic.fma(self.builder, *args)
            case Binary(op, left, _) | Compare(op, left, _) if left.dtype is not None:
                return self.arithmetic.operation(self.builder, op, left.dtype, *args)
            case Select():
                return self.builder.select(*args)
            case Lanes(_, places):
                return taken(self.builder, args, places)
            case Call(function, _):
                return self.arithmetic.call(self.builder, function, args)
        raise TypeError(f"{expr!r} cannot be emitted")


def _alignment(buffer: Buffer) -> int | None:
    """Bytes that elements are aligned to; None in registers, which LLVM aligns."""
    return None if buffer.space is Space.REGISTER else values.alignment(buffer.dtype)
