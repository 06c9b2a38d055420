"""What every kernel satisfies: as defined, scheduled, flat, and with vectors expanded."""

from dataclasses import dataclass, field

from cnnc.loop.affine import simplify
from cnnc.loop.coverage import find_coverage_fault
from cnnc.loop.expr import Buffer, Expr, Load, Local, Space, Var, children
from cnnc.loop.interval import Range, bounds, plain_bounds
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Kind, Let, Prefetch, Stmt, Store
from cnnc.loop.rewrite import parts
from cnnc.loop.text import print_buffer, print_expr, print_statement
from cnnc.loop.typecheck import find_type_fault

MAX_REGISTER_BYTES = 8192
"""Of one register array; the largest register files have 2048 bytes."""


class LoopError(Exception):
    """A kernel breaks `rule` at `stmt`: a bug in whatever made it."""

    def __init__(self, rule: str, why: str, kernel: Kernel, stmt: Stmt | None = None) -> None:
        self.rule = rule
        self.why = why
        self.kernel = kernel
        self.stmt = stmt
        super().__init__(rule, why, kernel, stmt)

    def __str__(self) -> str:
        text = f"rule `{self.rule}` is broken in kernel {self.kernel.name}: {self.why}"
        return f"{text}; at `{print_statement(self.stmt)}`" if self.stmt else text


def verify_kernel(kernel: Kernel) -> None:
    """Check every rule; raises LoopError at the first that is broken.

    Rules: params, names, types, bounds, registers, loops, samples, vectors, parallel, outputs,
    once. The time it takes depends on the length of the text, hardly on the extents of the loops.
    """
    _Verifier(kernel).run()


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is known where a statement stands; inner scopes start as copies."""

    ranges: dict[str, Range]
    locals: dict[str, Local]
    buffers: dict[str, Buffer]
    loops: tuple[For, ...] = ()
    depths: dict[str, int] = field(default_factory=dict)

    def inside(self, loop: For) -> "_Scope":
        """The scope of a loop's body."""
        ranges = {**self.ranges, loop.var: (0, loop.extent - 1)}
        loops = (*self.loops, loop)
        return _Scope(ranges, dict(self.locals), dict(self.buffers), loops, dict(self.depths))

    def has(self, name: str) -> bool:
        """Whether the name stands for something."""
        return name in self.ranges or name in self.locals or name in self.buffers


class _Verifier:
    """Walks over a kernel; `written` are the register arrays that hold something already.

    `readers` and `writers` are the numbers of the nests that read and write a parameter.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.written: set[str] = set()
        self.readers: dict[str, set[int]] = {param.name: set() for param in kernel.params}
        self.writers: dict[str, set[int]] = {param.name: set() for param in kernel.params}
        self.nest = 0
        self.stmt: Stmt | None = None

    def run(self) -> None:
        """Check the whole kernel."""
        names = [param.name for param in self.kernel.params]
        self._require("params", len(set(names)) == len(names), "two parameters share a name")
        for output in self.kernel.outputs:
            self._require("params", output in names, f"the output {output} is no parameter")
        for param in self.kernel.params:
            memory = param.space is Space.MEMORY
            self._require("params", memory, f"the parameter {param.name} lives in registers")
        scope = _Scope({}, {}, {param.name: param for param in self.kernel.params})
        for number, stmt in enumerate(self.kernel.body):
            self.nest = number
            self._body((stmt,), scope)
        self.stmt = None
        self._exchange()
        fault = find_coverage_fault(self.kernel)
        if fault:
            raise LoopError(fault.rule, fault.why, self.kernel, fault.stmt)

    def _require(self, rule: str, holds: bool, why: str) -> None:
        if not holds:
            raise LoopError(rule, why, self.kernel, self.stmt)

    def _body(self, body: Body, scope: _Scope) -> None:
        for stmt in body:
            self.stmt = stmt
            match stmt:
                case For():
                    self._loop(stmt, scope)
                    self._body(stmt.body, scope.inside(stmt))
                case Alloc(buffer):
                    self._alloc(buffer, scope)
                case Let(name, value):
                    self._expr(value, scope)
                    self._new(name, scope)
                    scope.locals[name] = Local(name, value.dtype, value.lanes)
                case Store():
                    self._store(stmt, scope)
                case Prefetch(buffer, index):
                    self._index(buffer, index, scope)

    def _new(self, name: str, scope: _Scope) -> None:
        self._require("names", not scope.has(name), f"{name} has a meaning here already")

    def _loop(self, loop: For, scope: _Scope) -> None:
        self._new(loop.var, scope)
        self._require("loops", loop.extent > 0, "a loop runs at least once")
        if loop.samples:
            outermost = not scope.loops and not loop.reduces
            self._require("samples", outermost, "a loop over samples is outermost")
        if loop.turned or loop.grain:
            shared = not scope.loops and loop.kind is Kind.PARALLEL
            why = "the outermost parallel loop may be turned, or handed out"
            self._require("parallel", shared and loop.grain >= 0, why)
        if loop.kind in (Kind.PARALLEL, Kind.VECTOR):
            why = f"a loop that reduces cannot be {loop.kind.value}"
            self._require("loops", not loop.reduces, why)
        if loop.kind is Kind.PARALLEL:
            shared = any(buffer.space is Space.SCRATCH for buffer in scope.buffers.values())
            self._require("parallel", not shared, "threads do not share scratch memory")
            outermost = all(outer.kind is Kind.PARALLEL for outer in scope.loops)
            self._require("parallel", outermost, "parallel loops are outermost")
        if loop.kind is Kind.VECTOR:
            innermost = all(isinstance(stmt, Let | Store) for stmt in loop.body)
            self._require("vectors", innermost, "a vector loop is innermost")

    def _alloc(self, buffer: Buffer, scope: _Scope) -> None:
        self._new(buffer.name, scope)
        local = buffer.space is not Space.MEMORY
        self._require("registers", local, "only registers and scratch memory are allocated")
        if buffer.space is Space.REGISTER:
            self._require("registers", buffer.layout.is_plain, "register arrays are row-major")
            used = buffer.size * buffer.dtype.bytes
            fits = used <= MAX_REGISTER_BYTES
            self._require("registers", fits, f"{used} bytes do not fit into registers")
        else:
            self._require("parallel", bool(scope.loops), "scratch memory belongs to a nest")
        scope.buffers[buffer.name] = buffer
        scope.depths[buffer.name] = len(scope.loops)
        self.written.discard(buffer.name)

    def _store(self, store: Store, scope: _Scope) -> None:
        buffer = store.buffer
        self._access(buffer, store.index, scope)
        self._expr(store.value, scope)
        same = store.value.dtype is buffer.dtype
        self._require("types", same, f"a value of {store.value.dtype} in {buffer.dtype}")
        lanes = max(part.lanes for part in store.index) if store.index else 1
        why = f"{store.value.lanes} lanes into {lanes} elements"
        self._require("types", store.value.lanes in (1, lanes), why)
        vector = next((loop for loop in scope.loops if loop.kind is Kind.VECTOR), None)
        if vector:
            varies = vector.var in _variables(store.index)
            self._require("vectors", varies, f"{buffer.name} does not vary with {vector.var}")
        if buffer.space is Space.MEMORY:
            written = buffer.name in self.kernel.outputs
            self._require("outputs", written, f"{buffer.name} is no output")
            self.writers[buffer.name].add(self.nest)
            return
        if buffer.space is Space.REGISTER:
            self._accumulation(store, scope)
        self.written.add(buffer.name)

    def _accumulation(self, store: Store, scope: _Scope) -> None:
        """Loops that a register array outlives: none is parallel; which accumulate, say so."""
        outlived = scope.loops[scope.depths[store.buffer.name] :]
        for loop in outlived:
            parallel = loop.kind is Kind.PARALLEL
            self._require("parallel", not parallel, f"iterations of {loop.var} share a register")
        used = _variables(store.index)
        for loop in outlived:
            if not (loop.reduces or loop.var in used or loop.extent == 1):
                accumulates = store.buffer.name in _loaded(store.value)
                self._require("loops", not accumulates, f"{loop.var} reduces without saying so")

    def _expr(self, expr: Expr, scope: _Scope) -> None:
        for part in children(expr) if not isinstance(expr, Load) else ():
            self._expr(part, scope)
        match expr:
            case Load(buffer, index):
                self._access(buffer, index, scope)
                if buffer.space is Space.MEMORY:
                    self.readers[buffer.name].add(self.nest)
                    return
                ready = buffer.name in self.written
                self._require("registers", ready, f"{buffer.name} is read before it is written")
            case Var(name):
                self._require("names", name in scope.ranges, f"no loop here runs over {name}")
            case Local(name):
                found = scope.locals.get(name)
                self._require("names", found is not None, f"no let before this defines {name}")
                if found != expr:
                    self._require("types", False, f"{name} is {found}, used as {expr}")
            case _:
                fault = find_type_fault(expr)
                if fault is not None:
                    self._require("types", False, f"{fault} in {print_expr(expr)}")

    def _access(self, buffer: Buffer, index: tuple[Expr, ...], scope: _Scope) -> None:
        """The index stays inside the buffer's memory."""
        reaches = self._index(buffer, index, scope)
        for axis, (part, known) in enumerate(zip(index, reaches, strict=True)):
            before, _ = buffer.layout.halo_of(axis)
            memory = (-before, buffer.layout.extent(buffer.shape, axis) - before - 1)
            reach = known or bounds(part, scope.ranges)
            if not _within(reach, memory):  # like terms collected, it may reach less far
                reach = _narrow(reach, bounds(simplify(part, scope.ranges), scope.ranges))
            if not _within(reach, memory):
                why = f"{print_expr(part)} of {print_buffer(buffer)} runs from {_to(reach)}"
                self._require("bounds", False, f"{why}, memory from {_to(memory)}")

    def _index(self, buffer: Buffer, index: tuple[Expr, ...], scope: _Scope) -> list[Range | None]:
        """The buffer is the one known here, with an index for each axis; where these run, if plain.

        What has plain bounds is well made: all else is looked at part by part.
        """
        known = scope.buffers.get(buffer.name)
        self._require("names", known is not None, f"no buffer here is called {buffer.name}")
        if known is not buffer and known is not None and known != buffer:
            why = f"{print_buffer(buffer)} is declared as {print_buffer(known)}"
            self._require("names", False, why)
        count = len(index) == len(buffer.shape)
        self._require("types", count, f"{len(index)} indices for {len(buffer.shape)} axes")
        reaches = [plain_bounds(part, scope.ranges) for part in index]
        for part, reach in zip(index, reaches, strict=True):
            if reach is None:
                if part.dtype is not None:
                    self._require("types", False, f"{print_expr(part)} is no index")
                self._expr(part, scope)
        return reaches

    def _exchange(self) -> None:
        """Threads do not wait for each other inside a kernel: each reads only its own results."""
        for output in self.kernel.outputs:
            readers, writers = self.readers[output], self.writers[output]
            why = f"{output} is read by another nest than the one that writes it"
            self._require("parallel", not readers or readers == writers, why)


def _within(reach: Range, memory: Range) -> bool:
    return memory[0] <= reach[0] and reach[1] <= memory[1]


def _narrow(one: Range, other: Range) -> Range:
    return max(one[0], other[0]), min(one[1], other[1])


def _to(span: Range) -> str:
    return f"{span[0]} to {span[1]}"


def _variables(index: tuple[Expr, ...]) -> set[str]:
    return {part.name for each in index for part in parts(each) if isinstance(part, Var)}


def _loaded(expr: Expr) -> set[str]:
    return {part.buffer.name for part in parts(expr) if isinstance(part, Load)}
