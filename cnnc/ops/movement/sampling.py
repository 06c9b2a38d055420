"""Where a resized axis reads its input, in exact arithmetic."""

from fractions import Fraction
from math import gcd

import numpy as np
from numpy.typing import NDArray

from cnnc.base.record import record
from cnnc.ir.graph import OpError
from cnnc.loop.build import KernelBuilder, maximum, minimum
from cnnc.loop.expr import Expr
from cnnc.ops.spec import Real

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
TAPS = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}
"""Offsets of the elements that each mode mixes."""
FINEST = 4096
"""Largest denominator of a scale."""
LONGEST = 2**24
"""Elements along an axis at most, before and after."""
LARGEST_TABLE = 2**24
"""Elements of a table of weights at most; it is held in float64 while it is made."""
Places = NDArray[np.int64]


@record
class Line:
    """(factor * o + shift) / divisor in lowest terms: a position in the input for each output o."""

    factor: int
    shift: int
    divisor: int

    @staticmethod
    def of(factor: Fraction, shift: Fraction) -> "Line":
        """factor * o + shift."""
        divisor = (
            factor.denominator * shift.denominator // gcd(factor.denominator, shift.denominator)
        )
        return Line(int(factor * divisor), int(shift * divisor), divisor)

    @property
    def is_identity(self) -> bool:
        """Whether every o reads the input at o."""
        return (self.factor, self.shift, self.divisor) == (1, 0, 1)

    def rounded(self, rounding: str) -> "Line":
        """The line whose floor is the rounded position."""
        double = Line(2 * self.factor, 2 * self.shift, 2 * self.divisor)
        match rounding:
            case "ceil":
                return Line(self.factor, self.shift + self.divisor - 1, self.divisor).reduced()
            case "round_prefer_ceil":
                moved = double.shift + self.divisor
            case "round_prefer_floor":  # ceil(x - 1/2) = floor((p + q - 1) / q), x - 1/2 = p / q
                moved = double.shift + self.divisor - 1
            case _:
                return self.reduced()
        return Line(double.factor, moved, double.divisor).reduced()

    def reduced(self) -> "Line":
        """A line with the same floor everywhere and smaller numbers."""
        common = gcd(self.factor, self.divisor)
        return Line(self.factor // common, self.shift // common, self.divisor // common)

    def floor(self, position: Expr) -> Expr:
        """The floor as an index."""
        return (position * self.factor + self.shift) // self.divisor

    def floors(self, count: int) -> Places:
        """The floors for the first `count` outputs."""
        return self._scaled(count) // self.divisor

    def fractions(self, count: int) -> Real:
        """What the floors leave over, from 0 to below 1."""
        rest: Real = self._scaled(count) % self.divisor / np.float64(self.divisor)
        return rest

    def _scaled(self, count: int) -> Places:
        return np.arange(count, dtype=np.int64) * self.factor + self.shift


@record
class Sampling:
    """One axis: `out` elements from `extent`; each mixes those at floor(line) + tap, if inside.

    `taps` are offsets; positions outside read the nearest element. Without weights (one tap)
    elements are picked.
    """

    extent: int
    out: int
    line: Line
    taps: tuple[int, ...] = (0,)

    @property
    def mixes(self) -> bool:
        """Whether elements are mixed, by a table of weights [out, taps]."""
        return len(self.taps) > 1

    def source(self, build: KernelBuilder, position: Expr, tap: int) -> Expr:
        """The input position under a tap."""
        place = self.line.floor(position) + tap
        low, high = build.range(place)
        if low < 0:
            place = maximum(place, 0)
        return minimum(place, self.extent - 1) if high >= self.extent else place

    def sources(self, tap: int) -> Places:
        """The same for all positions."""
        return np.clip(self.line.floors(self.out) + tap, 0, self.extent - 1)

    def weights(self, coefficient: float, exclude_outside: bool) -> Real:
        """The table of weights [out, taps]; OpError where too large or nothing is left of one."""
        if self.out * len(self.taps) > LARGEST_TABLE:
            raise OpError(
                "the result is too large to be interpolated",
                at="mode",
                note=f"a table of weights has {self.out} × {len(self.taps)} elements, the limit is "
                f"{LARGEST_TABLE}",
            )
        fraction = self.line.fractions(self.out)[:, None]
        distance = np.abs(fraction - np.array(self.taps))
        table = 1 - distance if len(self.taps) == 2 else cubic(distance, coefficient)
        if exclude_outside:
            place = self.line.floors(self.out)[:, None] + np.array(self.taps)
            table = np.where((place >= 0) & (place < self.extent), table, 0.0)
            total = table.sum(axis=1, keepdims=True)
            if np.abs(total).min() < 1e-6:
                raise OpError("weights inside the input add up to nothing", at="exclude_outside")
            table = table / total
        return table


def cubic(distance: Real, coefficient: float) -> Real:
    """The cubic convolution kernel at distances up to 2 (Keys, IEEE Trans. ASSP 29, 1981)."""
    a, d = coefficient, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)


def simplest(scale: float) -> Fraction:
    """The fraction a scale stands for."""
    return Fraction(scale).limit_denominator(FINEST)


def line_of(coordinates: str, extent: int, out: int, scale: Fraction) -> Line:
    """Positions in the input of an axis; `scale` is output per input."""
    half, first = Fraction(1, 2), Line(0, 0, 1)
    if coordinates == "asymmetric":
        return Line.of(1 / scale, Fraction(0))
    if coordinates == "align_corners":
        return Line.of(Fraction(extent - 1, out - 1), Fraction(0)) if out > 1 else first
    if coordinates == "pytorch_half_pixel" and out == 1:
        return first
    return Line.of(1 / scale, half / scale - half)
