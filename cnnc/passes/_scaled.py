"""Weights scaled by constants: made when asked for, because whole networks' weights are large."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from cnnc.ir.evaluate import round_to, widen
from cnnc.ir.graph import Array, Constant, Real, cuts, rows_at_once
from cnnc.ir.types import TensorType
from cnnc.passes._derived import Derived


@dataclass(frozen=True, slots=True, eq=False)
class Scaled(Derived):
    """weight * factor in float64, rounded once: see Recipe.

    The factor has the rank of the weight, and each of its axes the weight's extent or 1.
    """

    weight: Constant
    factor: Real = field(repr=False)
    type: TensorType

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe."""
        sizes, (least, most) = np.abs(self.factor), self.weight.magnitudes
        with np.errstate(all="ignore"):
            smallest = sizes.min(where=sizes != 0, initial=np.inf)
            found = (least * smallest, most * sizes.max(initial=0.0))
            low, high = np.asarray(found).astype(self.dtype)
        return float(low), float(high)

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe."""
        return (round_to(value, self.type.dtype) for value in self._wide(rows))

    def survives(self) -> bool:
        """Whether rounding makes nothing infinite, and nothing zero: 0 times infinity is NaN."""
        least, most = self.magnitudes
        if least > 0 and np.isfinite(most):
            return True
        # the smallest element may not meet the smallest factor, nor the largest the largest
        return all(survives(value, self.type) for value in self._wide(rows_at_once(self.shape)))

    def _wide(self, rows: int) -> Iterator[Real]:
        """Parts in float64."""
        for cut, part in zip(cuts(self.shape, rows), self.weight.parts(rows), strict=True):
            yield widen(part) * (self.factor[cut] if len(self.factor) > 1 else self.factor)


def survives(value: Real, type: TensorType) -> bool:
    """Whether rounding to the type makes nothing infinite, and nothing zero."""
    rounded = round_to(value, type.dtype)
    return bool(np.isfinite(rounded).all() and np.array_equal(value == 0, rounded == 0))
