"""The weights of weighted pooling, and the attributes of pooling that no other operator has."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf, prod

import numpy as np

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import OpError
from cnnc.ops.attributes import Extents, Kind, Symbol, Value
from cnnc.ops.spec import Real
from cnnc.ops.window import Window

Weights = tuple["float | Weights", ...]
LARGEST_TABLE = 2**24
"""Elements of a table at most; it is held in float64 while it is made."""


@record
class Falloff:
    """How weights fall with the distance from the window's centre; `none` leaves it open."""

    name: str = "none"
    sigma: float = 1.0

    def weights(self, window: Window) -> Real:
        """Weights [*kernel], not normalised. Distances are in elements of the input."""
        steps: list[Real] = [
            (np.arange(k, dtype=np.float64) - (k - 1) / 2) * d
            for k, d in zip(window.kernel, window.dilation, strict=True)
        ]
        squares: Real = reduce(np.add.outer, [step**2 for step in steps])
        distance: Real = np.sqrt(squares)
        result: Real = 1 / (1 + distance)
        if self.name == "gaussian":
            # Relative to the nearest tap: a small sigma leaves that one, not none.
            result = np.exp((squares.min() - squares) / (2 * self.sigma**2))
        elif self.name == "linear":
            result = 1 - distance / (distance.max() + 1)
        return result


@dataclass(frozen=True)
class FalloffKind(Kind[Falloff]):
    """gaussian(sigma) | linear | inverse | none."""

    keywords: Sequence[str] = ("gaussian", "linear", "inverse", "none")

    def parse(self, value: Value) -> Falloff:
        """See Kind."""
        match value:
            case Symbol("linear" | "inverse" | "none" as name, ()):
                return Falloff(name)
            case Symbol("gaussian", (int() | float() as sigma,)):
                if not isinstance(sigma, bool) and 1e-100 < sigma < 1e100:
                    return Falloff("gaussian", float(sigma))
        raise self.refuse(value)

    def describe(self) -> str:
        """See Kind."""
        return "gaussian(sigma) with sigma > 0, linear, inverse, or none"

    def unparse(self, field: Falloff) -> Value:
        """See Kind."""
        return Symbol(field.name, (field.sigma,) if field.name == "gaussian" else ())


@dataclass(frozen=True)
class WeightsKind(Kind[Weights]):
    """A list of numbers ≥ 0, or nested lists of them; an empty list stands for none."""

    def parse(self, value: Value) -> Weights:
        """See Kind."""
        found = _numbers(value)
        if not isinstance(found, tuple) or (found and len(_shape(found)) == 0):
            raise self.refuse(value)
        if found and not 0 < float(np.sum(np.array(found))) < inf:
            raise self.refuse(value)
        return found

    def describe(self) -> str:
        """See Kind."""
        return "a list of numbers ≥ 0 that are not all 0, or equally long lists of them"


@dataclass(frozen=True)
class Size(Extents):
    """Extents of a window, or the word `global` for the whole input: no extents."""

    keywords: Sequence[str] = ("global",)

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        return () if value == Symbol("global") else super().parse(value)

    def describe(self) -> str:
        """See Kind."""
        return f"{super().describe()}, or global"

    def unparse(self, field: tuple[int, ...]) -> Value:
        """See Kind."""
        return super().unparse(field) if field else Symbol("global")


@dataclass(frozen=True)
class Step(Extents):
    """Steps of a window, or the word `size` for the window's own extents: no steps."""

    keywords: Sequence[str] = ("size",)

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        return () if value == Symbol("size") else super().parse(value)

    def describe(self) -> str:
        """See Kind."""
        return f"{super().describe()}, or size"

    def unparse(self, field: tuple[int, ...]) -> Value:
        """See Kind."""
        return super().unparse(field) if field else Symbol("size")


def explicit_weights(weights: Weights, kernel: Shape) -> Real:
    """Weights [*kernel] from a list for the whole window, or from one to use along every axis."""
    array: Real = np.array(weights, np.float64)
    if array.shape == kernel:
        return array
    if all(array.shape == (extent,) for extent in kernel):
        return reduce(np.multiply.outer, [array] * len(kernel))
    raise OpError(
        "the weights do not fill the window",
        at="weights",
        note=f"they are {list(array.shape)}, the window is {list(kernel)}",
        help="give one list for all axes, as long as the window, or nested lists for the window",
    )


def check_table_size(window: Window) -> None:
    """OpError where the tables of weighted pooling would be unreasonably large."""
    size = prod(max(k, out) for k, out in zip(window.kernel, window.out, strict=True))
    if size > LARGEST_TABLE:
        raise OpError(
            "the window is too large to be weighted",
            at="size",
            note=f"a table of its weights has {size} elements, the limit is {LARGEST_TABLE}",
        )


def weight_tables(weights: Real, window: Window, spatial: Shape, count_pad: bool) -> list[Real]:
    """The weights, normalised to sum 1, and the factor [*out] where windows are cut, if any is.

    OpError where the weights of all taps that count are zero.
    """
    weights = weights / weights.sum()
    total = weights
    for axis, extent in enumerate(spatial):
        # Sums over the taps first ≤ k < last of each position, as differences of running sums.
        first, last = window.taps_inside(axis, extent, padded=count_pad)
        running = np.cumsum(total, axis=axis)
        running = np.insert(running, 0, 0, axis=axis)
        total = running.take(last, axis=axis) - running.take(first, axis=axis)
    if total.min() < 1e-9:
        raise OpError(
            "a window at the edge holds only weights of zero",
            at="pad",
            help="pad less, or set `count_pad`",
        )
    is_whole = bool(np.abs(total - 1).max() < 1e-12)
    return [weights] if is_whole else [weights, 1 / total]


def _numbers(value: Value) -> "float | Weights | None":
    """The value as numbers, or None if anything in it is not a finite number ≥ 0."""
    if isinstance(value, tuple):
        parts = [_numbers(part) for part in value]
        known = tuple(part for part in parts if part is not None)
        return known if len(known) == len(parts) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e300:
        return None
    return float(value)


def _shape(weights: "float | Weights") -> tuple[int, ...]:
    """Extents of nested lists; none where they are ragged."""
    if not isinstance(weights, tuple):
        return ()
    inner = {_shape(part) for part in weights}
    depths = {isinstance(part, tuple) for part in weights}
    if len(inner) != 1 or len(depths) != 1 or (True in depths and inner == {()}):
        return ()
    return (len(weights), *inner.pop())
