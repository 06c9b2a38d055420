"""Weights as Strassen's algorithm multiplies by them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cnnc.ir.evaluate import round_to, widen
from cnnc.ir.graph import Array, Constant, cuts, magnitudes, rows_at_once
from cnnc.ir.types import TensorType
from cnnc.ops.strassen import combine_weights
from cnnc.passes._derived import Derived


@dataclass(frozen=True, slots=True, eq=False)
class Combined(Derived):
    """Sums of the quarters of weights [O, C, 1, 1], of float64 and rounded once: see Recipe.

    `type` is [O / 2, C / 2, 7].
    """

    weight: Constant
    type: TensorType

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe: sums say nothing of their smallest, so that all of them are looked at."""
        return magnitudes(self.parts(rows_at_once(self.shape)))

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe."""
        o, whole = self.shape[0], self.weight.value
        for cut in cuts(self.shape, rows):
            pair = whole[:o][cut], whole[o:][cut]
            yield round_to(combine_weights(widen(np.concatenate(pair))), self.type.dtype)
