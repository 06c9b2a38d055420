"""Buffers as kernels want them."""

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import ALIGNMENT

Array = NDArray[np.generic]


def aligned(count: int, dtype: np.dtype[np.generic]) -> Array:
    """A one-dimensional array, not initialised, that starts at a multiple of ALIGNMENT."""
    raw = np.empty(count * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count * dtype.itemsize].view(dtype)


def drawn(random: np.random.Generator, shape: Shape, dtype: DType) -> Array:
    """Random elements: normally distributed, all bytes alike, whole numbers from -100 to 99."""
    if dtype.is_float:
        return random.standard_normal(shape).astype(dtype.numpy)
    low, high = {DType.U8: (0, 256), DType.BOOL: (0, 2)}.get(dtype, (-100, 100))
    return random.integers(low, high, shape).astype(dtype.numpy)


def packed(buffer: Buffer, array: Array) -> Array:
    """The array as it lies in the buffer's memory, aligned."""
    memory = aligned(buffer.layout.size(buffer.shape), buffer.dtype.numpy)
    memory[:] = buffer.layout.pack(array.astype(buffer.dtype.numpy)).reshape(-1)
    return memory


def unpacked(buffer: Buffer, memory: Array) -> Array:
    """The array that lies in the buffer's memory."""
    return buffer.layout.unpack(memory, buffer.shape)
