"""How far computed values are from exact ones, held against a tolerance."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnc.ir.graph import Array, Real

FLOOR = 4 * 2.0**-126
"""Added to tolerances of f32: below the smallest normal number, precision is lost gradually."""
PART = 1 << 15
"""Elements compared at a time: temporary arrays of so many stay in the cache."""


@dataclass(frozen=True, slots=True)
class Errors:
    """The largest errors over an array.

    `ratio` is the largest error over its tolerance, infinite where NaN or infinity stand in other
    places than they should; `index`, `got`, `expected` and `tolerance` are those of that element.
    `unbounded` counts elements for which there is no finite tolerance.
    """

    max_abs: float
    max_rel: float
    max_ulp: float
    ratio: float
    index: tuple[int, ...]
    got: float
    expected: float
    tolerance: float
    unbounded: int

    @property
    def ok(self) -> bool:
        """Whether everything is within its tolerance."""
        return self.ratio <= 1

    @staticmethod
    def worst(several: Iterable["Errors"]) -> "Errors":
        """The largest of each error, and the element with the largest ratio."""
        rows = list(several)
        last = max(rows, key=lambda row: row.ratio)
        return Errors(
            max(row.max_abs for row in rows),
            max(row.max_rel for row in rows),
            max(row.max_ulp for row in rows),
            last.ratio,
            last.index,
            last.got,
            last.expected,
            last.tolerance,
            sum(row.unbounded for row in rows),
        )


def measure(got: Array, expected: Real, tolerance: Real) -> Errors:
    """Compare elements; `expected` is exact in float64, `tolerance` bounds each |difference|."""
    exact = np.asarray(expected, np.float64)
    values, exacts, tolerances = (
        np.reshape(np.broadcast_to(each, exact.shape), -1) for each in (got, exact, tolerance)
    )
    rows = []
    for start in range(0, exact.size or 1, PART):
        part = slice(start, start + PART)
        rows.append(_measure_part(values[part], exacts[part], tolerances[part], start, exact.shape))
    return Errors.worst(rows)


def _measure_part(
    got: Array, exact: Real, tolerance: Real, start: int, shape: tuple[int, ...]
) -> Errors:
    """The errors of elements that follow each other from `start` on in arrays of this shape."""
    values = got.astype(np.float64)
    kind = np.float64 if got.dtype == np.float64 else np.float32
    allowed = tolerance + _floor(got.dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        difference = np.abs(values - exact)
        both = np.isfinite(rounded) & np.isfinite(values)
        allowed = np.where(np.isnan(allowed), np.inf, allowed)
        ratio = difference / allowed
        if not both.all():
            ratio = np.where(both, ratio, _misplaced(values, rounded, exact, allowed))
        relative = difference / np.abs(exact)
        ulp = difference / np.spacing(np.maximum(np.abs(rounded), np.finfo(kind).tiny)).astype(
            np.float64
        )
    worst = int(np.argmax(ratio)) if ratio.size else 0
    index = np.unravel_index(start + worst, shape) if ratio.size else ()
    return Errors(
        max_abs=_largest(difference, both),
        max_rel=_largest(relative, both & (exact != 0)),
        max_ulp=_largest(ulp, both),
        ratio=float(ratio.max(initial=0.0)),
        index=tuple(int(part) for part in index),
        got=float(values[worst]) if ratio.size else 0.0,
        expected=float(exact[worst]) if ratio.size else 0.0,
        tolerance=float(allowed[worst]) if ratio.size else 0.0,
        unbounded=int(np.count_nonzero(np.isfinite(rounded) & np.isinf(allowed))),
    )


def _floor(dtype: np.dtype[np.generic]) -> float:
    return 4 * float(np.finfo(np.float64).tiny) if dtype == np.float64 else FLOOR


def _misplaced(
    values: Real, rounded: NDArray[np.generic], exact: Real, allowed: Real
) -> NDArray[np.float64]:
    """Zero where NaN and infinities stand where they should, infinite elsewhere.

    A result at the edge of overflow may fall to either side, and so may one without a finite
    tolerance, on whose way to a finite value something may overflow.
    """
    same = (np.isnan(values) & np.isnan(rounded)) | (values == rounded)
    limit = float(np.finfo(np.float64 if rounded.dtype == np.float64 else np.float32).max)
    overflows = np.isinf(values) & (values * exact > 0) & (np.abs(exact) + allowed >= limit)
    falls_short = np.isfinite(exact) & (np.abs(values - exact) <= allowed)
    free = np.isfinite(exact) & np.isinf(allowed)
    return np.where(same | overflows | falls_short | free, 0.0, np.inf)


def _largest(values: Real, where: NDArray[np.bool_]) -> float:
    return float(np.max(values, where=where, initial=0.0)) if values.size else 0.0
