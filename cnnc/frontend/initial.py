"""Seeded initial weights: the same values for one seed, on every machine and NumPy version.

Only the bit generator's raw output is used, which NumPy keeps stable; its distributions may change.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import InternalError
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType


def initial_value(
    method: str, seed: int, path: str, initial: Initial, type: TensorType
) -> NDArray[np.float32]:
    """First values of one parameter; they depend on its path, not on the rest of the net.

    `initial.kind` "weight" is uniform in [-bound, bound) with the method's bound; f32 only.
    """
    match initial.kind:
        case "zeros":
            return np.zeros(type.shape, np.float32)
        case "ones":
            return np.ones(type.shape, np.float32)
        case "quarters":
            return np.full(type.shape, 0.25, np.float32)
        case "weight":
            bound = METHODS[method](initial.fan_in, initial.fan_out)
            return _uniform(seed, path, type.shape) * np.float32(bound)
    raise InternalError(f"{path} has the unknown initial kind {initial.kind}", stage="weights")


def _he(fan_in: int, fan_out: int) -> float:
    """He et al., "Delving deep into rectifiers" (ICCV 2015): variance 2 / fan_in."""
    return sqrt(6 / fan_in)


def _xavier(fan_in: int, fan_out: int) -> float:
    """Glorot and Bengio, AISTATS 2010: variance 2 / (fan_in + fan_out)."""
    return sqrt(6 / (fan_in + fan_out))


METHODS: Mapping[str, Callable[[int, int], float]] = {"he": _he, "xavier": _xavier}
"""Half the width of the uniform distribution, from fan_in and fan_out."""


def _uniform(seed: int, path: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Multiples of 2^-23 in [-1, 1), each as likely."""
    digest = sha256(f"{seed}:{path}".encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    raw = np.asarray(bits.random_raw(prod(shape)), np.uint64)
    units = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return units.reshape(shape)
