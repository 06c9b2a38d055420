"""What a pooling window makes of its elements: maximum, average, norm, weighted average."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf, prod
from operator import mul
from typing import ClassVar

import numpy as np

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.loop.build import KernelBuilder, maximum, number
from cnnc.loop.expr import Buffer, Const, Expr, Fma, call
from cnnc.ops.attributes import Kind, Symbol, Value
from cnnc.ops.pointwise import FUNCTION
from cnnc.ops.spec import Real, gamma
from cnnc.ops.window import Window


@record
class Pooling:
    """A window on an input with these spatial extents; `count_pad` makes padding count.

    `tables` are what weighted pooling reads besides the input.
    """

    window: Window
    spatial: Shape
    count_pad: bool
    tables: Sequence[Real] = ()

    @property
    def taps(self) -> int:
        """Elements under the window."""
        return prod(self.window.kernel)

    def counts(self) -> list[Real]:
        """For each axis, how many taps count at each position."""
        counts = []
        for axis, extent in enumerate(self.spatial):
            first, last = self.window.taps_inside(axis, extent, padded=self.count_pad)
            counts.append((last - first).astype(np.float64))
        return counts


@record
class Site:
    """Where a reduction writes its loops."""

    build: KernelBuilder
    pooling: Pooling
    tables: Sequence[Buffer]


class Reduction(ABC):
    """A kind of pooling: how elements join an accumulator, and what becomes of it.

    `outside` stands for elements outside the input; the accumulator starts with it.
    """

    outside: ClassVar[float] = 0.0
    counts_padding: ClassVar[bool] = False
    """Whether `count_pad` changes the result."""
    may_repeat: ClassVar[bool] = False
    """Whether an element that joins twice changes nothing."""

    @property
    @abstractmethod
    def symbol(self) -> Symbol:
        """The kind as the language writes it."""

    @abstractmethod
    def reference(self, x: Real, pooling: Pooling) -> Real:
        """The result from x[n, c, *spatial]."""

    @abstractmethod
    def join(self, site: Site, total: Expr, value: Expr, tap: Sequence[Expr]) -> Expr:
        """The accumulator after one more element."""

    def finish(self, site: Site, total: Expr, position: Sequence[Expr]) -> Expr:
        """The result from the accumulator."""
        return total

    @abstractmethod
    def error(self, unit: float, x: Real, errors: Real, pooling: Pooling) -> Real:
        """See Operator.error."""


@dataclass(frozen=True)
class Maximum(Reduction):
    """The largest element."""

    outside: ClassVar[float] = -inf
    may_repeat: ClassVar[bool] = True

    @property
    def symbol(self) -> Symbol:
        """See Reduction."""
        return Symbol("max")

    def reference(self, x: Real, pooling: Pooling) -> Real:
        """See Reduction."""
        return reduce(np.maximum, (under for _, under in pooling.window.taps(x, self.outside)))

    def join(self, site: Site, total: Expr, value: Expr, tap: Sequence[Expr]) -> Expr:
        """See Reduction: it is the first operand that is asked whether it is NaN, off the chain."""
        return maximum(value, total)

    def error(self, unit: float, x: Real, errors: Real, pooling: Pooling) -> Real:
        """See Reduction: exact, and never further off than the element that is furthest off."""
        return reduce(np.maximum, (under for _, under in pooling.window.taps(errors, 0.0)))


class Sum(Reduction):
    """A reduction that is linear: some weights times the elements."""

    counts_padding: ClassVar[bool] = True

    def error(self, unit: float, x: Real, errors: Real, pooling: Pooling) -> Real:
        """See Reduction: a rounding for each element, two of the scale, one of the result."""
        relative = gamma(pooling.taps + 3, unit)
        size = self.reference(np.abs(x), pooling)
        return relative * size + self.reference(errors, pooling) * (1 + relative)


@dataclass(frozen=True)
class Average(Sum):
    """The sum over the number of taps that count."""

    @property
    def symbol(self) -> Symbol:
        """See Reduction."""
        return Symbol("avg")

    def reference(self, x: Real, pooling: Pooling) -> Real:
        """See Reduction."""
        total = reduce(np.add, (under for _, under in pooling.window.taps(x, self.outside)))
        return total / reduce(np.multiply.outer, pooling.counts())

    def join(self, site: Site, total: Expr, value: Expr, tap: Sequence[Expr]) -> Expr:
        """See Reduction."""
        return total + value

    def finish(self, site: Site, total: Expr, position: Sequence[Expr]) -> Expr:
        """See Reduction: the divisor is a constant unless windows are cut at an edge."""
        assert total.dtype is not None
        pooling, known, varying = site.pooling, 1.0, []
        for axis, count in enumerate(pooling.counts()):
            if count.min() == count.max():
                known *= float(count[0])
                continue
            extent, padded = pooling.spatial[axis], pooling.count_pad
            varying.append(pooling.window.count_inside(axis, extent, position[axis], padded=padded))
        if not varying:
            return total * (1 / known)
        divisor = number(reduce(mul, varying), total.dtype)
        return total * site.build.let("scale", Const(1 / known, total.dtype) / divisor)


@dataclass(frozen=True)
class Weighted(Sum):
    """The sum of weight * x, over the weights of the taps that count.

    Its tables are the weights [*kernel], which sum to 1, and, if any window is cut at an edge,
    the factor [*out] that makes up for the weights outside.
    """

    @property
    def symbol(self) -> Symbol:
        """See Reduction."""
        return Symbol("weighted")

    def reference(self, x: Real, pooling: Pooling) -> Real:
        """See Reduction."""
        weights, *factor = pooling.tables
        taps = pooling.window.taps(x, self.outside)
        total: Real = reduce(np.add, (weights[tap] * under for tap, under in taps))
        return total * factor[0] if factor else total

    def join(self, site: Site, total: Expr, value: Expr, tap: Sequence[Expr]) -> Expr:
        """See Reduction."""
        return Fma(site.tables[0][tuple(tap)], value, total)

    def finish(self, site: Site, total: Expr, position: Sequence[Expr]) -> Expr:
        """See Reduction."""
        return total * site.tables[1][tuple(position)] if site.tables[1:] else total


@dataclass(frozen=True)
class Norm(Reduction):
    """(sum of |x|^p)^(1/p)."""

    p: float

    @property
    def symbol(self) -> Symbol:
        """See Reduction."""
        return Symbol("l2") if self.p == 2 else Symbol("lp", (self.p,))

    @property
    def has_products(self) -> bool:
        """Whether the power is small enough to be written as a product."""
        return self.p in (1, 2, 3, 4)

    def reference(self, x: Real, pooling: Pooling) -> Real:
        """See Reduction."""
        taps = pooling.window.taps(x, self.outside)
        total: Real = reduce(np.add, (np.abs(under) ** self.p for _, under in taps))
        root: Real = total ** (1 / self.p)
        return root

    def join(self, site: Site, total: Expr, value: Expr, tap: Sequence[Expr]) -> Expr:
        """See Reduction."""
        if self.p == 2:
            x = site.build.let("x", value)
            return Fma(x, x, total)
        size = call("abs", value)
        if self.p == 1:
            return total + size
        if not self.has_products:
            return total + call("pow", size, Const(self.p, value.dtype))
        x = site.build.let("x", size)
        return Fma(x * x, x if self.p == 3 else x * x, total)

    def finish(self, site: Site, total: Expr, position: Sequence[Expr]) -> Expr:
        """See Reduction."""
        if self.p == 1:
            return total
        if self.p == 2:
            return call("sqrt", total)
        return call("pow", total, Const(1 / self.p, total.dtype))

    def error(self, unit: float, x: Real, errors: Real, pooling: Pooling) -> Real:
        """See Reduction: the root divides the sum's error by p; by Minkowski, errors are normed.

        `pow` is off by its own roundings and by the rounding of its exponent, which the logarithm
        of the base multiplies. Powers below the smallest normal number may be lost.
        """
        carried = self.reference(errors, pooling)
        out = self.reference(x, pooling) + carried
        if self.has_products:
            powers: Real = np.full_like(out, gamma(pooling.taps + int(self.p), unit))
        else:
            taps = pooling.window.taps(x, self.outside)
            steepest = self.p * reduce(np.maximum, (_logarithm(under) for _, under in taps))
            powers = gamma(pooling.taps, unit) + unit * (FUNCTION + steepest)
        lost = np.zeros_like(out)
        if self.p > 1:
            underflow = pooling.taps * smallest_normal(unit)
            least = (2 * underflow) ** (1 / self.p)
            lost = np.where(out < least, least, 0)
            powers = powers + underflow / np.maximum(out, least) ** self.p
        root = {1.0: 0.0, 2.0: 1.0}.get(self.p, FUNCTION + _logarithm(out))
        relative = powers / self.p / (1 - np.minimum(powers, 0.5))
        relative = relative + unit * root * (1 + relative)
        bound: Real = carried + lost + out * relative
        return bound


@dataclass(frozen=True)
class ReductionKind(Kind[Reduction]):
    """max | avg | l2 | lp(p) | weighted."""

    keywords: Sequence[str] = ("max", "avg", "l2", "lp", "weighted")

    def parse(self, value: Value) -> Reduction:
        """See Kind."""
        match value:
            case Symbol("max", ()):
                return Maximum()
            case Symbol("avg", ()):
                return Average()
            case Symbol("l2", ()):
                return Norm(2.0)
            case Symbol("weighted", ()):
                return Weighted()
            case Symbol("lp", (int() | float() as p,)) if not isinstance(p, bool) and 1 <= p < inf:
                return Norm(float(p))
        raise self.refuse(value)

    def describe(self) -> str:
        """See Kind."""
        return "max, avg, l2, lp(p) with p ≥ 1, or weighted"

    def unparse(self, field: Reduction) -> Value:
        """See Kind."""
        return field.symbol


def smallest_normal(unit: float) -> float:
    """The smallest normal number of the format with this unit roundoff."""
    return float(np.finfo(np.float64 if unit < 2**-50 else np.float32).tiny)


def _logarithm(x: Real) -> Real:
    """|log |x||, 0 where x is 0."""
    size = np.abs(x)
    return np.abs(np.log(np.where(size > 0, size, 1.0)))
