"""Kinds of attributes: how a value in the language becomes a field, and prints again."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cnnc.base.record import record
from cnnc.ir.graph import OpError

T = TypeVar("T")


@record
class Symbol:
    """A bare name in an argument, with its own arguments: `same`, `gaussian(1.5)`."""

    name: str
    args: tuple["Value", ...] = ()

    def __str__(self) -> str:
        return self.name + (f"({', '.join(map(format_value, self.args))})" if self.args else "")


Value = bool | int | float | str | Symbol | tuple["Value", ...]
"""What an argument of the language evaluates to."""


def format_value(value: Value) -> str:
    """A value as the language writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return f"[{', '.join(map(format_value, value))}]"
        case str():
            return f'"{value}"'
    return str(value)


class Kind(ABC, Generic[T]):
    """A kind of attribute. `parse` raises OpError (without `at`) on a value that does not fit."""

    keywords: Sequence[str] = ()
    """Bare names the kind understands, for the resolver and for suggestions."""

    @abstractmethod
    def parse(self, value: Value) -> T:
        """The field's value."""

    @abstractmethod
    def describe(self) -> str:
        """What is accepted, as a noun phrase."""

    def unparse(self, field: T) -> Value:
        """The value in the language; kinds whose field is no language value override it."""
        assert isinstance(field, (bool, int, float, str, Symbol, tuple))
        return field

    def refuse(self, value: Value) -> OpError:
        """The error for a value that does not fit."""
        return OpError(f"expected {self.describe()}, found {format_value(value)}")


@dataclass(frozen=True)
class Integer(Kind[int]):
    """A whole number within limits."""

    minimum: int = 1
    maximum: int = 2**31 - 1

    def parse(self, value: Value) -> int:
        """See Kind."""
        number = whole(value)
        if number is None or not self.minimum <= number <= self.maximum:
            raise self.refuse(value)
        return number

    def describe(self) -> str:
        """See Kind."""
        return f"an integer ≥ {self.minimum}"


@dataclass(frozen=True)
class Number(Kind[float]):
    """A finite number within limits; `above` excludes its limit."""

    above: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    def parse(self, value: Value) -> float:
        """See Kind."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(value)
        number = float(value)
        finite = abs(number) <= 1.7e308
        low = self.above is not None and number <= self.above
        low = low or (self.minimum is not None and number < self.minimum)
        if not finite or low or (self.maximum is not None and number > self.maximum):
            raise self.refuse(value)
        return number

    def describe(self) -> str:
        """See Kind."""
        limits = [(">", self.above), ("≥", self.minimum), ("≤", self.maximum)]
        texts = [f"{sign} {limit:g}" for sign, limit in limits if limit is not None]
        return f"a number {' and '.join(texts)}".rstrip()


@dataclass(frozen=True)
class Flag(Kind[bool]):
    """true or false."""

    def parse(self, value: Value) -> bool:
        """See Kind."""
        if not isinstance(value, bool):
            raise self.refuse(value)
        return value

    def describe(self) -> str:
        """See Kind."""
        return "true or false"


@dataclass(frozen=True)
class Extents(Kind[tuple[int, ...]]):
    """One whole number for all spatial axes, or a list with one each; `spread` gives one each."""

    minimum: int = 1

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        parts = value if isinstance(value, tuple) else (value,)
        numbers = tuple(whole(part) for part in parts)
        found = tuple(n for n in numbers if n is not None and self.minimum <= n < 2**31)
        if not parts or len(found) != len(parts):
            raise self.refuse(value)
        return found

    def describe(self) -> str:
        """See Kind."""
        return f"an integer ≥ {self.minimum}, or a list with one for each spatial axis"

    def unparse(self, field: tuple[int, ...]) -> Value:
        """See Kind."""
        return field[0] if len(field) == 1 else field


@record
class Padding:
    """How far a window may reach outside: a rule by name, or (before, after) per spatial axis.

    `explicit` has one pair for all axes or one for each.
    """

    rule: str = "explicit"
    explicit: tuple[tuple[int, int], ...] = ((0, 0),)


@dataclass(frozen=True)
class PaddingKind(Kind[Padding]):
    """n | [n, …] | [[before, after], …] | same | same_lower | valid | causal."""

    keywords: Sequence[str] = field(default=("same", "same_lower", "valid", "causal"))

    def parse(self, value: Value) -> Padding:
        """See Kind."""
        if isinstance(value, Symbol) and value.name in self.keywords and not value.args:
            return Padding(value.name)
        parts = value if isinstance(value, tuple) else (value,)
        pairs = []
        for part in parts:
            ends = part if isinstance(part, tuple) else (part, part)
            numbers = [whole(end) for end in ends]
            if len(numbers) != 2 or not all(n is not None and 0 <= n < 2**20 for n in numbers):
                raise self.refuse(value)
            pairs.append((numbers[0] or 0, numbers[1] or 0))
        if not pairs:
            raise self.refuse(value)
        return Padding("explicit", tuple(pairs))

    def describe(self) -> str:
        """See Kind."""
        return (
            "same, same_lower, valid, causal, an integer ≥ 0, or a list with an integer "
            "or [before, after] for each spatial axis"
        )

    def unparse(self, field: Padding) -> Value:
        """See Kind."""
        if field.rule != "explicit":
            return Symbol(field.rule)
        parts: tuple[Value, ...] = tuple(
            low if low == high else (low, high) for low, high in field.explicit
        )
        return parts[0] if len(parts) == 1 and not isinstance(parts[0], tuple) else parts


@dataclass(frozen=True)
class Choice(Kind[str]):
    """One of several bare names."""

    keywords: Sequence[str]

    def parse(self, value: Value) -> str:
        """See Kind."""
        if not isinstance(value, Symbol) or value.name not in self.keywords or value.args:
            raise self.refuse(value)
        return value.name

    def describe(self) -> str:
        """See Kind."""
        return f"one of {', '.join(self.keywords)}"

    def unparse(self, field: str) -> Value:
        """See Kind."""
        return Symbol(field)


@dataclass(frozen=True)
class Axis(Kind[int]):
    """An axis by number; `resolve_axis` counts it from 0."""

    def parse(self, value: Value) -> int:
        """See Kind."""
        number = whole(value)
        if number is None or abs(number) > 64:
            raise self.refuse(value)
        return number

    def describe(self) -> str:
        """See Kind."""
        return "an axis: 0 is the batch, 1 the channels, -1 the last"


@dataclass(frozen=True)
class Axes(Kind[tuple[int, ...]]):
    """One axis by number, or a list of them; `resolve_axes` counts them from 0."""

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        parts = value if isinstance(value, tuple) else (value,)
        found = tuple(n for n in map(whole, parts) if n is not None and abs(n) <= 64)
        if not parts or len(found) != len(parts):
            raise self.refuse(value)
        return found

    def describe(self) -> str:
        """See Kind."""
        return "an axis (0 is the batch, 1 the channels, -1 the last), or a list of axes"

    def unparse(self, field: tuple[int, ...]) -> Value:
        """See Kind."""
        return field[0] if len(field) == 1 else field


@dataclass(frozen=True)
class ShapeKind(Kind[tuple[int, ...]]):
    """A list of extents, with 0 and -1 left for the operator to fill in."""

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        parts = value if isinstance(value, tuple) else ()
        found = tuple(n for n in map(whole, parts) if n is not None and -1 <= n < 2**31)
        if not parts or len(found) != len(parts) or found.count(-1) > 1:
            raise self.refuse(value)
        return found

    def describe(self) -> str:
        """See Kind."""
        return "a list of integers ≥ 0, one of which may be -1"


def whole(value: Value) -> int | None:
    """The integer a number stands for (3, 3.0), otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not (abs(value) < 2**53 and value == int(value)):
        return None
    return int(value)


def spread(extents: tuple[int, ...], rank: int, at: str) -> tuple[int, ...]:
    """One number per spatial axis; OpError at the attribute when the count does not fit."""
    if len(extents) == 1:
        return extents * rank
    if len(extents) != rank:
        raise OpError(
            f"{len(extents)} numbers for {rank} spatial axes",
            at=at,
            help=f"give one number for all axes, or {rank}",
        )
    return extents
