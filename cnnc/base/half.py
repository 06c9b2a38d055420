"""Floats of 16 bits: what memory may have in place of float32."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cnnc.base.record import record

Array = NDArray[np.generic]


@record
class Half:
    """An IEEE 754 format: bits behind the point, the least exponent, and the largest number."""

    name: str
    digits: int
    least: int
    largest: float

    bytes = 2

    @property
    def roundoff(self) -> float:
        """How far a rounded number is off at most, relative to itself."""
        return 2.0 ** -(self.digits + 1)

    @property
    def smallest(self) -> float:
        """The same for the least numbers: half the distance between subnormal ones."""
        return 2.0 ** (self.least - self.digits - 1)

    def narrow(self, floats: Array) -> NDArray[np.uint16]:
        """The nearest ones, halves to even; NaN stays NaN, and what is too large is infinite."""
        values = np.ascontiguousarray(floats, np.float32)
        if self.name == "f16":
            with np.errstate(over="ignore"):
                return values.astype(np.float16).view(np.uint16)
        bits = values.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return np.where(np.isnan(values), 0x7FFF, rounded).astype(np.uint16)

    def widen(self, bits: Array) -> NDArray[np.float32]:
        """The same numbers in float32."""
        if self.name == "f16":
            return bits.view(np.float16).astype(np.float32)
        return (bits.astype(np.uint32) << 16).view(np.float32)

    def error(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far the nearest ones are off at most, where they are finite."""
        return self.roundoff * np.abs(values) + self.smallest


HALVES: Mapping[str, Half] = MappingProxyType(
    {
        "f16": Half("f16", 10, -14, 65504.0),
        "bf16": Half("bf16", 7, -126, float.fromhex("0x1.fep127")),
    }
)
"""By name."""
