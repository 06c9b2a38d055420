"""Seeded initial weights: the same values for one seed, on every machine and NumPy version.

Only the bit generator's raw output is used, which NumPy keeps stable; its distributions may change.
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import InternalError
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import Initial, Recipe, cuts
from cnnc.ir.types import TensorType


def initial_value(
    method: str, seed: int, path: str, initial: Initial, type: TensorType
) -> NDArray[np.generic] | Recipe:
    """First values of one parameter; they depend on its path, not on the rest of the net.

    `initial.kind` "weight" is uniform in [-bound, bound) with the method's bound: numbers of f32,
    whatever the type of floating point. Such weights are not drawn yet, but as often as somebody
    asks for them.
    """
    match initial.kind:
        case "zeros":
            return np.zeros(type.shape, type.dtype.numpy)
        case "ones":
            return np.ones(type.shape, type.dtype.numpy)
        case "quarters":
            return np.full(type.shape, 0.25, type.dtype.numpy)
        case "weight":
            bound = METHODS[method](initial.fan_in, initial.fan_out)
            return Drawn(type.shape, bound, seed, path)
    raise InternalError(f"{path} has the unknown initial kind {initial.kind}", stage="weights")


@record
class Drawn:
    """Uniform in [-bound, bound), in steps of bound * 2^-23, each as likely: see Recipe."""

    shape: Shape
    bound: float
    seed: int
    path: str

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """See Recipe."""
        return np.dtype(np.float32)

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe."""
        bound = np.float32(self.bound)
        return float(_STEP * bound), float(bound)

    @property
    def identity(self) -> object:
        """See Recipe."""
        return self

    def parts(self, rows: int) -> Iterator[NDArray[np.generic]]:
        """See Recipe."""
        digest = sha256(f"{self.seed}:{self.path}".encode()).digest()
        bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
        for cut in cuts(self.shape, rows):
            shape = (cut.stop - cut.start, *self.shape[1:])
            raw = np.asarray(bits.random_raw(prod(shape)), np.uint64)
            raw >>= np.uint64(40)
            values = raw.astype(np.float32)
            values *= _STEP
            values -= np.float32(1)
            values *= np.float32(self.bound)
            yield values.reshape(shape)


_STEP = np.float32(2.0**-23)


def _he(fan_in: int, fan_out: int) -> float:
    """He et al., "Delving deep into rectifiers" (ICCV 2015): variance 2 / fan_in."""
    return sqrt(6 / fan_in)


def _xavier(fan_in: int, fan_out: int) -> float:
    """Glorot and Bengio, AISTATS 2010: variance 2 / (fan_in + fan_out)."""
    return sqrt(6 / (fan_in + fan_out))


METHODS: Mapping[str, Callable[[int, int], float]] = {"he": _he, "xavier": _xavier}
"""Half the width of the uniform distribution, from fan_in and fan_out."""
