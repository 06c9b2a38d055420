"""Index expressions along one variable: how they grow, and the stretch of positions they cover."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from cnnc.analysis.indices import evaluate_index, grid, variables
from cnnc.loop.accesses import Access, Guard, Write, conjuncts
from cnnc.loop.affine import affine
from cnnc.loop.expr import Binary, Compare, Const, Expr, Select, Var
from cnnc.loop.interval import Range, bounds

LONGEST_PERIOD = 1 << 12
MOST_POINTS = 1 << 20


@dataclass(frozen=True, slots=True)
class Pace:
    """An index grows by `rise` whenever the variable grows by `period`, but for its edges."""

    period: int
    rise: int

    def over(self, period: int) -> int:
        """How much it grows over a multiple of its period."""
        return self.rise * (period // self.period)


@dataclass(frozen=True, slots=True)
class Line:
    """Position o of the result covers positions `low(o)` to `high(o)` of what it reads, edges left
    out.

    `axis` is the axis of the result. The bounds grow by `rise` with every `period`; `lows` and
    `highs` give them for the first `period` positions, None for positions that another store
    writes.
    """

    axis: int
    rise: int
    lows: tuple[int | None, ...]
    highs: tuple[int | None, ...]

    @staticmethod
    def identity(axis: int) -> "Line":
        """Every position reads itself."""
        return Line(axis, 1, (0,), (0,))

    @property
    def period(self) -> int:
        """After how many positions the bounds repeat."""
        return len(self.lows)

    @property
    def slope(self) -> Fraction:
        """Positions of what is read for each position of the result."""
        return Fraction(self.rise, self.period)

    @property
    def is_complete(self) -> bool:
        """Whether every position covers something."""
        return None not in self.lows

    @property
    def size(self) -> int:
        """The most positions that are covered, gaps included."""
        spans = ((self.low(o), self.high(o)) for o in range(self.period))
        return max(high - low + 1 for low, high in spans if low is not None and high is not None)

    def low(self, position: int) -> int | None:
        """The first position covered."""
        return self._at(self.lows, position)

    def high(self, position: int) -> int | None:
        """The last position covered."""
        return self._at(self.highs, position)

    def _at(self, bounds: tuple[int | None, ...], position: int) -> int | None:
        turns, place = divmod(position, self.period)
        bound = bounds[place]
        return None if bound is None else bound + turns * self.rise

    def hull(self, other: "Line") -> "Line | None":
        """The line that covers both; None if they part."""
        period = lcm(self.period, other.period)
        if (self.axis, self.slope) != (other.axis, other.slope) or period > LONGEST_PERIOD:
            return None
        lows = [_either(min, self.low(o), other.low(o)) for o in range(period)]
        highs = [_either(max, self.high(o), other.high(o)) for o in range(period)]
        return Line(self.axis, self.rise * (period // self.period), tuple(lows), tuple(highs))

    def through(self, inner: "Line") -> "Line | None":
        """What is covered through two operators: `inner` is the line of the operand, complete."""
        times = inner.period // gcd(self.rise, inner.period)
        period = self.period * times
        if period > LONGEST_PERIOD:
            return None
        lows: list[int | None] = []
        highs: list[int | None] = []
        for position in range(period):
            low, high = self.low(position), self.high(position)
            covered = [] if low is None or high is None else _ends(low, high, inner.period)
            lows.append(_least(min, (inner.low(each) for each in covered)))
            highs.append(_least(max, (inner.high(each) for each in covered)))
        rise = inner.rise * (self.rise * times // inner.period)
        return Line(self.axis, rise, tuple(lows), tuple(highs))


Choose = Callable[[Iterable[int]], int]


def _either(choose: Choose, first: int | None, second: int | None) -> int | None:
    return _least(choose, (first, second))


def _least(choose: Choose, several: Iterable[int | None]) -> int | None:
    known = [each for each in several if each is not None]
    return choose(known) if known else None


def _ends(low: int, high: int, near: int) -> list[int]:
    """The positions within one period of either end: the bounds are extreme at one of them."""
    first = range(low, min(high, low + near) + 1)
    return sorted({*first, *range(max(low, high - near), high + 1)})


def pace(expr: Expr, variable: str) -> Pace | None:
    """How an index grows with a variable; None where it grows in no steady way.

    Clamping and choices act at the edges and are left out: of two indices, the one that rises
    counts.
    """
    match expr:
        case Var(name):
            return Pace(1, int(name == variable))
        case Const():
            return Pace(1, 0)
        case Select() | Binary("min" | "max"):
            return pace(_rising(expr, variable), variable)
        case Binary("add" | "sub" as op, left, right):
            return _sum(pace(left, variable), pace(right, variable), 1 if op == "add" else -1)
        case Binary("mul", left, Const(factor)) | Binary("mul", Const(factor), left):
            inner = pace(left, variable)
            return inner and Pace(inner.period, inner.rise * int(factor))
        case Binary("floordiv" | "mod" as op, left, Const(divisor)):
            inner = pace(left, variable)
            if inner is None:
                return None
            times = int(divisor) // gcd(inner.rise, int(divisor))
            rise = inner.rise * times // int(divisor) if op == "floordiv" else 0
            return _bounded(Pace(inner.period * times, rise))
    return None if variable in variables(expr) else Pace(1, 0)


def _rising(expr: Expr, variable: str) -> Expr:
    """The part of a choice or clamp that rises with the variable, or else the first that is
    steady."""
    match expr:
        case Select(_, first, second) | Binary(_, first, second):
            parts = (first, second)
        case _:
            return expr
    paces = [(part, pace(part, variable)) for part in parts]
    rising = [part for part, found in paces if found is not None and found.rise > 0]
    steady = [part for part, found in paces if found is not None]
    return (rising or steady or parts)[0]


def _sum(left: Pace | None, right: Pace | None, sign: int) -> Pace | None:
    if left is None or right is None:
        return None
    period = lcm(left.period, right.period)
    return _bounded(Pace(period, left.over(period) + sign * right.over(period)))


def _bounded(found: Pace) -> Pace | None:
    return found if found.period <= LONGEST_PERIOD else None


def period_of(expr: Expr, variable: str) -> int:
    """After how many steps of a variable an index or condition repeats, edges left out.

    What grows steadily has the period of its growth.
    """
    match expr:
        case Binary("floordiv" | "mod", left, Const(divisor)):
            found = pace(expr, variable)
            return period_of(left, variable) * int(divisor) if found is None else found.period
        case Binary(_, left, right) | Compare(_, left, right):
            return lcm(period_of(left, variable), period_of(right, variable))
        case Select(condition, then, otherwise):
            return lcm(*(period_of(part, variable) for part in (condition, then, otherwise)))
    return 1


def followed_by(write: Write, index: Expr, near: int) -> tuple[int, str] | None:
    """The axis of the result that an index follows, and the variable that counts it.

    Of several, `near` comes first, then other spatial axes.
    """
    axes = sorted(range(len(write.index)), key=lambda axis: (axis != near, axis < 2, axis))
    for axis in axes:
        for variable in sorted(variables(write.index[axis]) & variables(index)):
            return axis, variable
    return None


def follow(write: Write, access: Access, axis: int) -> Line | None:
    """The line of a load along an axis of its operand; None if it follows no axis of the result."""
    index = access.index[axis]
    found = followed_by(write, index, axis)
    if found is None:
        return None
    out_axis, variable = found
    place = position_of(write.index[out_axis], variable, write.ranges)
    steady = pace(index, variable)
    if place is None or steady is None or steady.rise <= 0:
        return None
    kept = [g for g in conjuncts(access.guards) if _is_steady(g.condition, variable)]
    period = lcm(steady.period, *(period_of(g.condition, variable) for g in kept))
    return _listed(write, (index, write.index[out_axis]), kept, (out_axis, variable), period)


def _is_steady(condition: Expr, variable: str) -> bool:
    """Whether a condition depends on the variable, and does so alike everywhere."""
    if not isinstance(condition, Compare) or variable not in variables(condition):
        return False
    paces = [pace(part, variable) for part in (condition.left, condition.right)]
    return all(found is not None and found.rise == 0 for found in paces)


def _listed(
    write: Write,
    parts: tuple[Expr, Expr],
    guards: Sequence[Guard],
    along: tuple[int, str],
    period: int,
) -> Line | None:
    """The line of an index, found by listing it for one period of the variable."""
    axis, variable = along
    index, place = parts
    step, _, _ = position_of(place, variable, write.ranges) or (0, 0, 0)
    index = _unclamped(index, variable)
    names = tuple(
        sorted(
            frozenset[str]().union(
                *(variables(e) for e in (index, place)), *(variables(g.condition) for g in guards)
            )
        )
    )
    extents = {name: high + 1 for name, (_, high) in write.ranges.items()} | {variable: period}
    shape = tuple(extents[name] for name in names)
    if period * step > LONGEST_PERIOD or np.prod(shape) > MOST_POINTS:
        return None
    values = grid(names, extents)
    holds = np.ones(shape, bool)
    for guard in guards:
        holds &= evaluate_index(guard.condition, values).astype(bool) == guard.holds
    reads = np.broadcast_to(evaluate_index(index, values), shape)[holds]
    positions = np.broadcast_to(evaluate_index(place, values), shape)[holds]
    found = pace(index, variable)
    assert found is not None
    rise, count = found.over(period), period * step
    # Positions count from where the store begins: turned back into the first period from 0.
    turns = positions // count
    reads, positions = reads - turns * rise, positions - turns * count
    lows: list[int | None] = [None] * count
    highs: list[int | None] = [None] * count
    for position in range(count):
        covered = reads[positions == position]
        if len(covered):
            lows[position], highs[position] = int(covered.min()), int(covered.max())
    return Line(axis, rise, tuple(lows), tuple(highs))


def _unclamped(expr: Expr, variable: str) -> Expr:
    """The index without what acts at its edges only."""
    while isinstance(expr, Select) or (isinstance(expr, Binary) and expr.op in ("min", "max")):
        expr = _rising(expr, variable)
    return expr


def position_of(
    part: Expr, variable: str, ranges: Mapping[str, Range]
) -> tuple[int, int, int] | None:
    """(step, low, high) where part = step * variable + rest with low ≤ rest ≤ high.

    None unless the rest stays below one step: then it does not say where the variable is.
    """
    form = affine(part)
    step = form.coefficient(Var(variable))
    rest = part - Var(variable) * step
    if step <= 0 or any(variable in variables(t) for t, _ in form.terms if t != Var(variable)):
        return None
    low, high = bounds(affine(rest).expr(), ranges)
    return (step, low, high) if high - low < step else None


def leaves(guards: Sequence[Guard]) -> Iterator[Expr]:
    """The comparisons that conditions are made of."""
    for guard in guards:
        match guard.condition:
            case Binary("and" | "or", left, right):
                yield from leaves((Guard(left), Guard(right)))
            case condition:
                yield condition
