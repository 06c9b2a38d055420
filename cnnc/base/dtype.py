"""Scalar types shared by the graph and the loops."""

from enum import Enum

import numpy as np
from numpy.typing import DTypeLike


class DType(Enum):
    """An element type; the value is the name people write."""

    F32 = "f32"
    F64 = "f64"
    I32 = "i32"
    I64 = "i64"
    U8 = "u8"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy dtype with the same representation."""
        return _NUMPY[self]

    @property
    def bytes(self) -> int:
        """Size of one element in bytes."""
        return self.numpy.itemsize

    @property
    def bits(self) -> int:
        """Bits that make up a value: one of a truth value, though it takes a byte of memory."""
        return 1 if self is DType.BOOL else 8 * self.bytes

    @property
    def is_float(self) -> bool:
        """Whether values are floating point."""
        return self in (DType.F32, DType.F64)

    @property
    def unit_roundoff(self) -> float:
        """Half the distance from 1 to the next float: the largest relative rounding error."""
        return 2.0**-53 if self is DType.F64 else 2.0**-24

    @staticmethod
    def of(dtype: DTypeLike) -> "DType":
        """The DType of a NumPy dtype; raises KeyError where there is none."""
        return _FROM_NUMPY[np.dtype(dtype)]

    def __str__(self) -> str:
        return self.value


_NUMPY: dict[DType, np.dtype[np.generic]] = {
    DType.F32: np.dtype(np.float32),
    DType.F64: np.dtype(np.float64),
    DType.I32: np.dtype(np.int32),
    DType.I64: np.dtype(np.int64),
    DType.U8: np.dtype(np.uint8),
    DType.BOOL: np.dtype(np.bool_),
}
_FROM_NUMPY = {numpy: dtype for dtype, numpy in _NUMPY.items()}
