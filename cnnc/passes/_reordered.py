"""Weights for input channels in another order: made when asked for, as they may be large."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cnnc.ir.graph import Array, Constant
from cnnc.ir.types import TensorType
from cnnc.passes._derived import Derived


@dataclass(frozen=True, slots=True, eq=False)
class Reordered(Derived):
    """weight[:, order]: see Recipe. `type` is the weight's."""

    weight: Constant
    order: NDArray[np.intp] = field(repr=False)
    type: TensorType

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe."""
        return self.weight.magnitudes

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe."""
        return (part.take(self.order, axis=1) for part in self.weight.parts(rows))
