"""Weights of several convolutions as those of one: made when asked for, as they may be large."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from cnnc.ir.graph import Array, Constant
from cnnc.ir.types import TensorType
from cnnc.passes._derived import Derived


@dataclass(frozen=True, slots=True, eq=False)
class Stacked(Derived):
    """Weights [O, I, *kernel] one behind the other, of an axis 1 that all share: see Recipe.

    `places` are those of each one's channels on that axis; elsewhere it is -0.0, which leaves any
    sum as it is.
    """

    weights: tuple[Constant, ...]
    places: Sequence[Sequence[int]] = field(repr=False)
    type: TensorType

    @property
    def made_from(self) -> tuple[Constant, ...]:
        """See Derived."""
        return self.weights

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe."""
        each = np.asarray([weight.magnitudes for weight in self.weights])
        return float(each[:, 0].min()), float(each[:, 1].max())

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe: a part may hold rows of several weights."""
        waiting = np.empty((0, *self.shape[1:]), self.dtype)
        for weight, places in zip(self.weights, self.places, strict=True):
            placed = np.full((weight.source.shape[0], *self.shape[1:]), -0.0, self.dtype)
            placed[:, places] = weight.value
            waiting = np.concatenate((waiting, placed))
            while len(waiting) >= rows:
                yield waiting[:rows]
                waiting = waiting[rows:]
        if len(waiting):
            yield waiting
