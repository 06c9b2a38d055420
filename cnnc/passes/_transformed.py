"""Weights as Winograd's algorithm multiplies by them: made when asked for, as they are large."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cnnc.base.layout import Shape
from cnnc.ir.evaluate import round_to, widen
from cnnc.ir.graph import Array, Constant, cuts, magnitudes, rows_at_once
from cnnc.ir.types import TensorType
from cnnc.ops.cook_toom import transform_weights
from cnnc.passes._derived import Derived


@dataclass(frozen=True, slots=True, eq=False)
class Transformed(Derived):
    """Weights [O, I, taps, …] transformed in float64 and rounded once: see Recipe.

    `type` is [O, phases * I, points], for a `tile` of so many points and so many `phases` along
    each axis.
    """

    weight: Constant
    tile: Shape
    phases: Shape
    type: TensorType

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe: sums say nothing of their smallest, so that all of them are looked at."""
        return magnitudes(self.parts(rows_at_once(self.shape)))

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe."""
        few = rows_at_once(self.shape)
        for part in self.weight.parts(rows):
            # a plane for each point, as they are computed; few rows at once in float64
            planes = np.empty((self.shape[-1], len(part), self.shape[1]), self.dtype)
            whole = np.moveaxis(planes, 0, -1)
            for cut in cuts(whole.shape, few):
                made = transform_weights(widen(part[cut]), self.tile, self.phases)
                whole[cut] = round_to(made, self.type.dtype)
            yield whole
