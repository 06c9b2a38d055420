"""What becomes of the elements along the axes that `reduce` takes away."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from cnnc.loop.build import KernelBuilder, maximum, minimum
from cnnc.loop.expr import Expr, Fma, call
from cnnc.ops.attributes import Kind, Symbol, Value
from cnnc.ops.pool_kinds import smallest_normal
from cnnc.ops.spec import Real, gamma

Over = tuple[int, ...]
"""Axes, counted from 0; arrays keep them with an extent of 1."""


class Reducer(ABC):
    """How elements join an accumulator that begins with `start`, and what becomes of it."""

    name: ClassVar[str]
    start: ClassVar[float] = 0.0

    @abstractmethod
    def reference(self, x: Real, over: Over) -> Real:
        """The result, with an extent of 1 along the axes."""

    @abstractmethod
    def join(self, build: KernelBuilder, total: Expr, value: Expr) -> Expr:
        """The accumulator after one more element."""

    def finish(self, total: Expr, count: int) -> Expr:
        """The result from the accumulator of so many elements."""
        return total

    @abstractmethod
    def error(self, unit: float, x: Real, errors: Real, over: Over) -> Real:
        """See Operator.error."""


@dataclass(frozen=True)
class Sum(Reducer):
    """The sum of the elements."""

    name = "sum"

    def reference(self, x: Real, over: Over) -> Real:
        """See Reducer."""
        return _sum(x, over)

    def join(self, build: KernelBuilder, total: Expr, value: Expr) -> Expr:
        """See Reducer."""
        return total + value

    def error(self, unit: float, x: Real, errors: Real, over: Over) -> Real:
        """See Reducer: a rounding for each addition but the first."""
        relative = gamma(elements(x, over) - 1, unit)
        size, carried = _sum(np.abs(x), over), _sum(errors, over)
        return relative * size + (1 + relative) * carried


@dataclass(frozen=True)
class Mean(Sum):
    """The sum over the number of elements."""

    name = "mean"

    def reference(self, x: Real, over: Over) -> Real:
        """See Reducer."""
        return _sum(x, over) / elements(x, over)

    def finish(self, total: Expr, count: int) -> Expr:
        """See Reducer."""
        return total * (1 / count) if count > 1 else total

    def error(self, unit: float, x: Real, errors: Real, over: Over) -> Real:
        """See Reducer: as the sum, and two roundings of the scale."""
        count = elements(x, over)
        if count == 1:
            return errors
        relative = gamma(count + 1, unit)
        size, carried = _sum(np.abs(x), over) / count, _sum(errors, over) / count
        return relative * size + (1 + relative) * carried


@dataclass(frozen=True)
class Absolute(Sum):
    """The sum of |x|."""

    name = "l1"

    def reference(self, x: Real, over: Over) -> Real:
        """See Reducer."""
        return _sum(np.abs(x), over)

    def join(self, build: KernelBuilder, total: Expr, value: Expr) -> Expr:
        """See Reducer."""
        return total + call("abs", value)


@dataclass(frozen=True)
class Euclidean(Reducer):
    """The root of the sum of x²."""

    name = "l2"

    def reference(self, x: Real, over: Over) -> Real:
        """See Reducer."""
        return np.sqrt(_sum(np.square(x), over))

    def join(self, build: KernelBuilder, total: Expr, value: Expr) -> Expr:
        """See Reducer."""
        x = build.let("x", value)
        return Fma(x, x, total)

    def finish(self, total: Expr, count: int) -> Expr:
        """See Reducer."""
        return call("sqrt", total)

    def error(self, unit: float, x: Real, errors: Real, over: Over) -> Real:
        """See Reducer: the root halves the sum's error and rounds; errors are normed (Minkowski).

        Squares below the smallest normal number may be lost.
        """
        carried, count = self.reference(errors, over), elements(x, over)
        out = self.reference(x, over) + carried
        underflow = count * smallest_normal(unit)
        least = (2 * underflow) ** 0.5
        squares = gamma(count + 1, unit) + underflow / np.maximum(out, least) ** 2
        relative = squares / 2 / (1 - np.minimum(squares, 0.5))
        bound: Real = carried + out * (relative + unit * (1 + relative))
        return bound + np.where(out < least, least, 0)


class Extreme(Reducer):
    """An element among those there are."""

    def error(self, unit: float, x: Real, errors: Real, over: Over) -> Real:
        """See Reducer: exact, and never further off than the element that is furthest off."""
        return _largest(errors, over)


@dataclass(frozen=True)
class Maximum(Extreme):
    """The largest element."""

    name = "max"
    start: ClassVar[float] = -inf

    def reference(self, x: Real, over: Over) -> Real:
        """See Reducer."""
        return _largest(x, over)

    def join(self, build: KernelBuilder, total: Expr, value: Expr) -> Expr:
        """See Reducer."""
        return maximum(total, value)


@dataclass(frozen=True)
class Minimum(Extreme):
    """The smallest element."""

    name = "min"
    start: ClassVar[float] = inf

    def reference(self, x: Real, over: Over) -> Real:
        """See Reducer."""
        return -_largest(-x, over)

    def join(self, build: KernelBuilder, total: Expr, value: Expr) -> Expr:
        """See Reducer."""
        return minimum(total, value)


KINDS = {kind.name: kind for kind in (Mean(), Sum(), Maximum(), Minimum(), Absolute(), Euclidean())}


@dataclass(frozen=True)
class ReducerKind(Kind[Reducer]):
    """One of the kinds by name."""

    keywords: Sequence[str] = tuple(KINDS)

    def parse(self, value: Value) -> Reducer:
        """See Kind."""
        if isinstance(value, Symbol) and value.name in KINDS and not value.args:
            return KINDS[value.name]
        raise self.refuse(value)

    def describe(self) -> str:
        """See Kind."""
        return f"one of {', '.join(KINDS)}"

    def unparse(self, field: Reducer) -> Value:
        """See Kind."""
        return Symbol(field.name)


def elements(x: Real, over: Over) -> int:
    """How many elements make one."""
    return int(np.prod([x.shape[axis] for axis in over]))


def _sum(x: Real, over: Over) -> Real:
    total: Real = x.sum(over, keepdims=True)
    return total


def _largest(x: Real, over: Over) -> Real:
    largest: Real = x.max(over, keepdims=True)
    return largest
