"""Index expressions along one variable: how far they rise, and the straight line they follow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

from cnnc.analysis.indices import variables
from cnnc.loop.accesses import Access, Guard, Write, conjuncts
from cnnc.loop.expr import Binary, Compare, Const, Expr, Select, Var
from cnnc.loop.interval import Range

LONGEST_PERIOD = 1 << 20


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
    """slope * o + low ≤ index ≤ slope * o + high for every position o, edges left out.

    `axis` is the axis of the result that o counts.
    """

    axis: int
    slope: Fraction
    low: Fraction
    high: Fraction

    @staticmethod
    def identity(axis: int) -> "Line":
        """Every position reads itself."""
        return Line(axis, Fraction(1), Fraction(0), Fraction(0))

    def hull(self, other: "Line") -> "Line | None":
        """The line that holds both; None if they part."""
        if (self.axis, self.slope) != (other.axis, other.slope):
            return None
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Line(self.axis, self.slope, low, high)

    def through(self, inner: "Line") -> "Line":
        """What is read through two operators: `inner` is the line of the operand."""
        return Line(
            self.axis,
            self.slope * inner.slope,
            inner.slope * self.low + inner.low,
            inner.slope * self.high + inner.high,
        )

    @property
    def size(self) -> int:
        """The most positions that the line ever covers."""
        return int(self.high - self.low) + 1


def pace(expr: Expr, variable: str) -> Pace | None:
    """How an index grows with a variable; None where it grows in no steady way.

    Clamping to numbers is left out: it acts at the edges. A choice between two indices follows the
    one that rises.
    """
    match expr:
        case Var(name):
            return Pace(1, int(name == variable))
        case Const():
            return Pace(1, 0)
        case Select(_, then, otherwise):
            found = [pace(then, variable), pace(otherwise, variable)]
            rising = [each for each in found if each is not None and each.rise > 0]
            return rising[0] if rising else found[0]
        case Binary("min" | "max", left, right):
            found = [pace(left, variable), pace(right, variable)]
            rising = [each for each in found if each is not None and each.rise > 0]
            return rising[0] if rising else found[0]
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


def _sum(left: Pace | None, right: Pace | None, sign: int) -> Pace | None:
    if left is None or right is None:
        return None
    period = lcm(left.period, right.period)
    return _bounded(Pace(period, left.over(period) + sign * right.over(period)))


def _bounded(found: Pace) -> Pace | None:
    return found if found.period <= LONGEST_PERIOD else None


def condition_period(condition: Expr, variable: str) -> int | None:
    """After how many steps of a variable a condition repeats, its edges left out."""
    match condition:
        case Compare(_, left, right) | Binary("and" | "or", left, right):
            parts: list[int] = []
            for part in (left, right):
                if isinstance(condition, Compare):
                    found = pace(part, variable)
                    period = None if found is None else found.period
                else:
                    period = condition_period(part, variable)
                if period is None:
                    return None
                parts.append(period)
            return lcm(*parts)
    return None if variable in variables(condition) else 1


def follow(write: Write, access: Access, axis: int) -> Line | None:
    """The line of a load along an axis of its operand; None if it follows no axis of the result."""
    index = access.index[axis]
    for out_axis, part in enumerate(write.index):
        for variable in variables(index) & variables(part):
            found = _line(index, variable, write.ranges, access.guards)
            place = position_of(part, variable, write.ranges)
            if found is None or place is None or found[0] <= 0:
                return None
            (slope, low, high), (step, before, after) = found, place
            # part = step * v + rest, so v lies between (o - after) / step and (o - before) / step
            slope /= step
            return Line(out_axis, slope, low - slope * after, high - slope * before)
    return None


def position_of(
    part: Expr, variable: str, ranges: Mapping[str, Range]
) -> tuple[int, int, int] | None:
    """(step, low, high) where part = step * variable + rest with low ≤ rest ≤ high.

    None unless the rest stays below one step: then it does not say where the variable is.
    """
    found = _line(part, variable, ranges, ())
    if found is None or found[0].denominator != 1 or found[0] <= 0:
        return None
    step, low, high = (int(each) for each in found)
    return (step, low, high) if high - low < step else None


Triple = tuple[Fraction, Fraction, Fraction]
"""slope, lowest and highest rest."""


def _line(
    expr: Expr, variable: str, ranges: Mapping[str, Range], guards: Sequence[Guard]
) -> Triple | None:
    match expr:
        case Var(name) if name == variable:
            return Fraction(1), Fraction(0), Fraction(0)
        case Var(name):
            low, high = ranges[name]
            return Fraction(0), Fraction(low), Fraction(high)
        case Const(value):
            return Fraction(0), Fraction(int(value)), Fraction(int(value))
        case Binary("mul", left, Const(factor)) | Binary("mul", Const(factor), left):
            inner = _line(left, variable, ranges, guards)
            return inner and _scaled(inner, Fraction(int(factor)))
        case Binary("floordiv", left, Const(divisor)):
            inner = _line(left, variable, ranges, guards)
            if inner is None:
                return None
            slope, lowest, highest = inner
            if not _divides(left, int(divisor), guards):
                lowest -= int(divisor) - 1
            return _scaled((slope, lowest, highest), Fraction(1, int(divisor)))
        case Binary("mod", _, Const(divisor)):
            return Fraction(0), Fraction(0), Fraction(int(divisor) - 1)
        case Binary(op, left, right):
            return _joined(op, *(_line(part, variable, ranges, guards) for part in (left, right)))
    return None


def _joined(op: str, left: Triple | None, right: Triple | None) -> Triple | None:
    if left is None or right is None:
        return None
    (a, low, high), (b, other_low, other_high) = left, right
    if op == "add":
        return a + b, low + other_low, high + other_high
    if op == "sub":
        return a - b, low - other_high, high - other_low
    if op in ("min", "max") and (a == 0) != (b == 0):
        return left if a else right
    return None


def _scaled(inner: Triple, factor: Fraction) -> Triple:
    slope, low, high = (part * factor for part in inner)
    return (slope, low, high) if factor >= 0 else (slope, high, low)


def _divides(expr: Expr, divisor: int, guards: Sequence[Guard]) -> bool:
    """Whether a guard says that there is no remainder."""
    rest = Binary("mod", expr, Const(divisor))
    wanted = Guard(Compare("eq", rest, Const(0)))
    return wanted in tuple(conjuncts(tuple(guards)))


def leaves(guards: Sequence[Guard]) -> Iterator[Expr]:
    """The comparisons that conditions are made of."""
    for guard in guards:
        match guard.condition:
            case Binary("and" | "or", left, right):
                yield from leaves((Guard(left), Guard(right)))
            case condition:
                yield condition
