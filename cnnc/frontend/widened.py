"""Weights of f32 for a network of f64, which hold the same numbers there."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import Recipe

Array = NDArray[np.generic]


def fits(stored: str, wanted: DType) -> bool:
    """Whether stored weights of an element type hold the wanted one's numbers."""
    return stored == str(wanted) or (stored == "f32" and wanted is DType.F64)


def widened(source: Array | Recipe, dtype: DType) -> Array | Recipe:
    """The same numbers in the wanted type."""
    if source.dtype == dtype.numpy:
        return source
    return source.astype(dtype.numpy) if isinstance(source, np.ndarray) else Widened(source)


@record
class Widened:
    """The numbers of a recipe for f32 as f64: see Recipe."""

    source: Recipe

    @property
    def shape(self) -> Shape:
        """See Recipe."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """See Recipe."""
        return np.dtype(np.float64)

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe."""
        return self.source.magnitudes

    @property
    def identity(self) -> object:
        """See Recipe."""
        return type(self.source), self.source.identity

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe."""
        return (part.astype(np.float64) for part in self.source.parts(rows))
