"""Which elements a kernel reads for each element it writes, read off its loops.

Values pass through registers and names (`Let`); both are followed back to the loads behind them.
Loops that stand side by side may share a variable's name, so every variable gets a new one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from cnnc.loop.affine import simplify
from cnnc.loop.expr import (
    Binary,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Load,
    Local,
    Select,
    Space,
    Var,
    children,
)
from cnnc.loop.interval import Range
from cnnc.loop.kernel import Body, For, Let, Store
from cnnc.loop.rewrite import parts, transform


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on loop variables that must hold, or must not."""

    condition: Expr
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Access:
    """An element of a tensor that is read where the guards hold.

    Where one of `zeros` does not hold, what is read is multiplied by a literal zero. `loops` are
    the variables of the loops around the load.
    """

    buffer: str
    index: tuple[Expr, ...]
    guards: tuple[Guard, ...] = ()
    zeros: tuple[Guard, ...] = ()
    loops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbers:
    """An index that enters the result as a number, where the guards hold."""

    index: Expr
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """A store into the result: its index, what it reads, and which positions enter as numbers.

    `choices` are the conditions on loop variables that decide between two values. `ranges` bounds
    every variable.
    """

    buffer: str
    index: tuple[Expr, ...]
    ranges: Mapping[str, Range]
    reads: tuple[Access, ...]
    numbers: tuple[Numbers, ...]
    choices: tuple[Guard, ...]


def writes(body: Body) -> tuple[Write, ...]:
    """Every store into memory, in the order of the loops; of kernels before any schedule."""
    reader = _Reader()
    reader.run(body, {})
    return tuple(reader.write(store) for store in reader.results)


@dataclass(slots=True)
class _Reader:
    """Gives every variable its own name, and keeps what is stored where."""

    ranges: dict[str, Range] = field(default_factory=dict)
    registers: dict[str, list["_Stored"]] = field(default_factory=dict)
    results: list["_Stored"] = field(default_factory=list)

    def run(self, body: Body, known: Mapping[str, Expr], loops: tuple[str, ...] = ()) -> None:
        """Statements of one body; `known` holds the variables and names in scope."""
        known = dict(known)
        for stmt in body:
            match stmt:
                case For(var, extent, inner):
                    name = f"{var}:{len(self.ranges)}"
                    self.ranges[name] = (0, extent - 1)
                    self.run(inner, {**known, var: Var(name)}, (*loops, name))
                case Let(name, value):
                    known[name] = _resolve(value, known)
                case Store(buffer, index, value):
                    where = tuple(self._simplified(_resolve(part, known)) for part in index)
                    stored = _Stored(Store(buffer, where, _resolve(value, known)), loops)
                    if buffer.space is Space.REGISTER:
                        self.registers.setdefault(buffer.name, []).append(stored)
                    else:
                        self.results.append(stored)

    def write(self, stored: "_Stored") -> Write:
        """What a store reads."""
        found, store = _Found(), stored.store
        self._follow(store.value, _Path(stored.loops), found)
        reads = tuple(dict.fromkeys(found.reads))
        numbers, choices = tuple(dict.fromkeys(found.numbers)), tuple(dict.fromkeys(found.choices))
        return Write(store.buffer.name, store.index, self.ranges, reads, numbers, choices)

    def _simplified(self, index: Expr) -> Expr:
        """An index or condition without divisions that have no effect."""
        try:
            return simplify(index, self.ranges)
        except TypeError:  # it depends on values
            return index

    def _follow(self, expr: Expr, path: "_Path", found: "_Found") -> None:
        match expr:
            case Load(buffer, _) if buffer.space is Space.REGISTER:
                # An accumulator reads itself: what it holds is what is stored into it.
                if buffer.name not in path.open:
                    inside = replace(path, open=path.open | {buffer.name})
                    for stored in self.registers.get(buffer.name, ()):
                        within = replace(inside, loops=stored.loops)
                        self._follow(stored.store.value, within, found)
                return
            case Load(buffer, index):
                index = tuple(self._simplified(part) for part in index)
                found.reads.append(Access(buffer.name, index, path.guards, path.zeros, path.loops))
                return
            case Select(condition, then, otherwise) if is_static(condition):
                condition = self._simplified(condition)
                found.choices.append(Guard(condition))
                for part, holds in ((then, True), (otherwise, False)):
                    self._follow(part, path.guarded(Guard(condition, holds)), found)
                return
            case Fma(a, b, c):
                product = path.times(a, b)
                for part, where in ((a, product), (b, product), (c, path)):
                    self._follow(part, where, found)
                return
            case Binary("mul", a, b) if a.dtype is not None:
                path = path.times(a, b)
            case Cast(value, _) if value.dtype is None:
                found.numbers.append(Numbers(self._simplified(value), path.guards))
                return
        for part in children(expr):
            self._follow(part, path, found)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A store with the loops around it."""

    store: Store
    loops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Path:
    """The way from a result back to a load: what must hold, and the registers passed."""

    loops: tuple[str, ...]
    guards: tuple[Guard, ...] = ()
    zeros: tuple[Guard, ...] = ()
    open: frozenset[str] = frozenset()

    def guarded(self, guard: Guard) -> "_Path":
        """The way on where a condition holds."""
        return replace(self, guards=(*self.guards, guard))

    def times(self, *factors: Expr) -> "_Path":
        """The way on into one of some factors."""
        zeros = (guard for factor in factors for guard in _zero_unless(factor))
        return replace(self, zeros=(*self.zeros, *zeros))


@dataclass(slots=True)
class _Found:
    reads: list[Access] = field(default_factory=list)
    numbers: list[Numbers] = field(default_factory=list)
    choices: list[Guard] = field(default_factory=list)


def is_static(condition: Expr) -> bool:
    """Whether a truth value depends on loop variables only."""
    return not any(isinstance(part, Load) for part in parts(condition)) and all(
        part.left.dtype is None for part in parts(condition) if isinstance(part, Compare)
    )


def conjuncts(guards: tuple[Guard, ...]) -> Iterator[Guard]:
    """The guards with every `and` that must hold, and every `or` that must not, taken apart."""
    for guard in guards:
        match guard.condition:
            case Binary("and" | "or" as op, left, right) if guard.holds == (op == "and"):
                parted = (Guard(left, guard.holds), Guard(right, guard.holds))
                yield from conjuncts(parted)
            case _:
                yield guard


def _resolve(expr: Expr, known: Mapping[str, Expr]) -> Expr:
    """The expression with its variables renamed and its names replaced by their values."""

    def change(part: Expr) -> Expr | None:
        match part:
            case Var(name) | Local(name, _, _):
                return known[name]
        return None

    return transform(expr, change)


def _zero_unless(factor: Expr) -> tuple[Guard, ...]:
    match factor:
        case Select(condition, _, Const(0)) if is_static(condition):
            return (Guard(condition),)
        case Select(condition, Const(0), _) if is_static(condition):
            return (Guard(condition, False),)
    return ()


def with_zeros(access: Access) -> Access:
    """The access only where what it reads is not multiplied by a literal zero."""
    return replace(access, guards=(*access.guards, *access.zeros), zeros=())
