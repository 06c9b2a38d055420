"""Kernels run as they are written, one statement at a time.

Every statement and expression becomes a Python function of the state. An element is a NumPy
scalar of its dtype, so that each operation rounds as on a machine; a vector is a NumPy array.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np

from cnnc.backends.base import Array
from cnnc.backends.interp.memory import Place, locate, locate_vector
from cnnc.backends.interp.values import (
    BINARY,
    COMPARISONS,
    PRIMITIVES,
    Index,
    Value,
    convert,
    fused,
    select,
)
from cnnc.base.errors import InternalError
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
    Var,
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
)
from cnnc.loop.text import print_expr


@dataclass(frozen=True, slots=True)
class State:
    """What names stand for: loop variables and lets, and the memory of buffers."""

    values: dict[str, Value]
    memory: dict[str, Array]
    samples: int | None = None


Evaluate = Callable[[State], Value]
Execute = Callable[[State], None]


def run_kernel(
    kernel: Kernel,
    buffers: Sequence[Array],
    tasks: Iterable[int] | None = None,
    samples: int | None = None,
) -> None:
    """Run a kernel, flat or still indexed logically, on buffers as they lie in memory.

    `buffers` are one-dimensional, in the order of the parameters; outputs are written. With
    `tasks`, each parallel nest runs these iterations only, counted through its loops with the
    last one fastest, and what is not parallel runs if 0 is among them. Loops over samples run that
    often where their number is given, and inputs and outputs may have so many only. InternalError
    where the kernel leaves a buffer or does what machines leave undefined.
    """
    for param, memory in zip(kernel.params, buffers, strict=True):
        size = memory.size if samples is not None else param.size
        if memory.shape != (min(size, param.size),) or memory.dtype != param.dtype.numpy:
            found = f"{memory.dtype}{list(memory.shape)}"
            raise ValueError(f"{param.name} takes {param.dtype}[{param.size}], not {found}")
    names = (param.name for param in kernel.params)
    state = State({}, dict(zip(names, buffers, strict=True)), samples)
    chosen = None if tasks is None else sorted(tasks)
    translator = _Translator(kernel.name)
    with np.errstate(all="ignore"):
        for stmt in kernel.body:
            if isinstance(stmt, For) and stmt.kind is Kind.PARALLEL:
                _run_nest(translator, stmt, state, chosen)
            elif chosen is None or 0 in chosen:
                translator.statement(stmt)(state)


def _run_nest(
    translator: "_Translator", nest: For, state: State, tasks: Sequence[int] | None
) -> None:
    loops = parallel_loops(nest)
    extents = [_extent(nest, state), *(loop.extent for loop in loops[1:])]
    execute = translator.body(loops[-1].body)
    for task in range(prod(extents)) if tasks is None else tasks:
        if task < prod(extents):
            for loop, step in zip(loops, np.unravel_index(task, extents), strict=True):
                state.values[loop.var] = int(step)
            execute(state)


def _extent(loop: For, state: State) -> int:
    """How often a loop runs: as often as there are samples, if it is over these."""
    return state.samples if loop.samples and state.samples is not None else loop.extent


@dataclass(frozen=True, slots=True)
class _Translator:
    """Statements and expressions of a kernel as Python functions."""

    kernel: str

    def body(self, body: Body) -> Execute:
        """One statement after the other."""
        steps = [self.statement(stmt) for stmt in body]

        def execute(state: State) -> None:
            for step in steps:
                step(state)

        return execute

    def statement(self, stmt: Stmt) -> Execute:
        """One statement."""
        match stmt:
            case For(kind=Kind.VECTOR):
                return self._vector(stmt)
            case For():
                return self._loop(stmt)
            case Alloc(buffer):
                return self._alloc(buffer)
            case Let(name, value):
                return self._let(name, self.expr(value))
            case Store():
                return self._store(stmt)
            case Prefetch():
                return lambda state: None

    def _loop(self, loop: For) -> Execute:
        execute = self.body(loop.body)

        def run(state: State) -> None:
            for step in range(_extent(loop, state)):
                state.values[loop.var] = step
                execute(state)

        return run

    def _vector(self, loop: For) -> Execute:
        """All iterations at once: the variable stands for all its values."""
        steps, execute = np.arange(loop.extent), self.body(loop.body)

        def run(state: State) -> None:
            state.values[loop.var] = steps
            execute(state)

        return run

    def _alloc(self, buffer: Buffer) -> Execute:
        """Registers start out undefined: as NaN where there is one."""
        fresh = np.full(buffer.size, np.nan if buffer.dtype.is_float else 0, buffer.dtype.numpy)

        def run(state: State) -> None:
            state.memory[buffer.name] = fresh.copy()

        return run

    def _let(self, name: str, value: Evaluate) -> Execute:
        """A vector is copied: it may be a view of memory that changes later."""

        def run(state: State) -> None:
            found = value(state)
            state.values[name] = found.copy() if isinstance(found, np.ndarray) else found

        return run

    def _store(self, stmt: Store) -> Execute:
        name, value = stmt.buffer.name, self.expr(stmt.value)
        where = self._where(stmt.buffer, stmt.index)

        def run(state: State) -> None:
            state.memory[name][where(state)] = value(state)

        return run

    def _load(self, buffer: Buffer, index: tuple[Expr, ...]) -> Evaluate:
        where = self._where(buffer, index)
        return lambda state: state.memory[buffer.name][where(state)]

    def _where(self, buffer: Buffer, index: tuple[Expr, ...]) -> Callable[[State], Place]:
        """The place of an element in memory; InternalError if that is outside."""
        firsts, find = index, locate(buffer)
        match index:
            case (Ramp(base, lanes, 1),) if buffer.layout.is_plain:
                firsts, find = (base,), locate_vector(buffer, lanes)
        parts = [cast(Callable[[State], Index], self.expr(first)) for first in firsts]

        def where(state: State) -> Place:
            values = [part(state) for part in parts]
            place = find(values)
            if place is None:
                access = print_expr(Load(buffer, index))
                at = ", ".join(map(str, values))
                raise InternalError(f"{self.kernel}: {access} leaves it at [{at}]", stage="loops")
            return place

        return where

    def expr(self, expr: Expr) -> Evaluate:
        """One expression."""
        match expr:
            case Const(value, dtype):
                constant: Value = int(value) if dtype is None else dtype.numpy.type(value)
                return lambda state: constant
            case Var(name) | Local(name, _, _):
                return lambda state: state.values[name]
            case Load(buffer, index):
                return self._load(buffer, index)
            case Ramp(base, width, stride):
                first, steps = self.expr(base), np.arange(width) * stride
                return lambda state: np.add(first(state), steps)
            case Cast(value, dtype):
                inner = self.expr(value)
                return lambda state: convert(inner(state), dtype)
            case Binary(op, left, right):
                return self._call(BINARY[op], left, right)
            case Compare(op, left, right):
                return self._call(COMPARISONS[op], left, right)
            case Fma(a, b, c):
                return self._call(fused, a, b, c)
            case Select(condition, then, otherwise):
                return self._call(select, condition, then, otherwise)
            case Lanes(parts, places):
                taken = list(places)
                return self._call(lambda *vectors: np.concatenate(vectors)[taken], *parts)
            case Call(function, args) if function in PRIMITIVES:
                return self._call(PRIMITIVES[function], *args)
        raise InternalError(f"{self.kernel}: no rule to evaluate {print_expr(expr)}", stage="loops")

    def _call(self, function: Callable[..., Value], *args: Expr) -> Evaluate:
        parts = [self.expr(arg) for arg in args]
        if len(parts) == 2:
            left, right = parts
            return lambda state: function(left(state), right(state))
        return lambda state: function(*[part(state) for part in parts])
