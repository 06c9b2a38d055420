"""Buffers as kernels want them."""

import numpy as np
from numpy.typing import NDArray

from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import ALIGNMENT

Array = NDArray[np.generic]


def aligned(count: int, dtype: np.dtype[np.generic]) -> Array:
    """A one-dimensional array, not initialised, that starts at a multiple of ALIGNMENT."""
    raw = np.empty(count * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count * dtype.itemsize].view(dtype)


def packed(buffer: Buffer, array: Array) -> Array:
    """The array as it lies in the buffer's memory, aligned."""
    memory = aligned(buffer.layout.size(buffer.shape), buffer.dtype.numpy)
    memory[:] = buffer.layout.pack(array.astype(buffer.dtype.numpy)).reshape(-1)
    return memory


def unpacked(buffer: Buffer, memory: Array) -> Array:
    """The array that lies in the buffer's memory."""
    return buffer.layout.unpack(memory, buffer.shape)
