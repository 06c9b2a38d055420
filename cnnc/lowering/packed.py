"""Constants as buffers hold them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnc.ir.graph import Constant, cuts, rows_at_once
from cnnc.loop.expr import Buffer


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """See Contents: a constant as a buffer holds it."""

    constant: Constant
    buffer: Buffer

    @property
    def bytes(self) -> int:
        """See Contents."""
        return self.buffer.size * self.buffer.dtype.bytes

    def pack_into(self, memory: NDArray[np.uint8]) -> None:
        """See Contents: part by part."""
        layout, dtype = self.buffer.layout, self.buffer.dtype.numpy
        elements, shape = memory.view(dtype), self.constant.source.shape
        if not shape or layout.halo_of(0) != (0, 0) or layout.within:
            elements[:] = layout.pack(self.constant.value.astype(dtype)).reshape(-1)
            return
        rows = rows_at_once(shape, layout.block(0))
        for cut, part in zip(cuts(shape, rows), self.constant.parts(rows), strict=True):
            layout.pack_rows(part.astype(dtype, copy=False), cut.start, elements, shape)
