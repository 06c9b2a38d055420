"""Constants of a network as the GPU's memory has them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import Packing
from cnnc.base.record import record
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Blob, align


@record
class Constant:
    """Bytes among the weights."""

    offset: int
    bytes: int
    fill: Callable[[], NDArray[np.uint8]]


class Weights:
    """Constants laid out one after the other, each once."""

    def __init__(self) -> None:
        self.bytes = 0
        self.found: dict[object, Constant] = {}

    def place(self, key: object, size: int, fill: Callable[[], NDArray[np.uint8]]) -> int:
        """Where the constant lies, behind the head."""
        if key not in self.found:
            self.found[key] = Constant(align(self.bytes), size, fill)
            self.bytes = align(self.bytes) + size
        return self.found[key].offset


def bytes_of(blob: Blob) -> NDArray[np.uint8]:
    """The constant as the loops have it."""
    memory = np.zeros(blob.contents.bytes, np.uint8)
    blob.contents.pack_into(memory)
    return memory


def packed(blob: Blob, buffer: Buffer, packing: Packing) -> NDArray[np.uint8]:
    """The constant as the packing has it: the loops' own layout is undone first."""
    elements = bytes_of(blob).view(buffer.dtype.numpy)
    made = packing.pack(buffer.layout.unpack(elements, buffer.shape))
    return made.reshape(-1).view(np.uint8)
