"""Where the elements of a buffer lie."""

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.interp.values import Index
from cnnc.loop.expr import Buffer

Place: TypeAlias = Index | slice
"""Where in memory an element or a vector lies."""
Locate = Callable[[Sequence[Index]], Place | None]
"""From an index for each axis to a place; None if it is outside."""


def locate(buffer: Buffer) -> Locate:
    """The place of an element: each axis adds what a table says for its index."""
    layout, rank = buffer.layout, len(buffer.shape)
    axes = [(axis_table(buffer, axis), layout.halo_of(axis)[0]) for axis in range(rank)]

    def find(index: Sequence[Index]) -> Place | None:
        place: Index = 0
        for part, (table, halo) in zip(index, axes, strict=True):
            step = part + halo
            if not _is_within(step, len(table)):
                return None
            place = place + table[step]
        return place

    return find


def locate_vector(buffer: Buffer, lanes: int) -> Locate:
    """The place of neighbours in a buffer of one axis, from the index of the first."""
    last = buffer.size - lanes

    def find(index: Sequence[Index]) -> Place | None:
        start = int(index[0])
        return slice(start, start + lanes) if 0 <= start <= last else None

    return find


def axis_table(buffer: Buffer, axis: int) -> NDArray[np.int64]:
    """What each index along the axis adds to the place in memory, the halo's indices first."""
    layout = buffer.layout
    sizes = layout.physical_shape(buffer.shape)
    strides = [prod(sizes[place + 1 :]) for place in range(len(sizes))]
    rest = np.arange(layout.extent(buffer.shape, axis))
    table = np.zeros_like(rest)
    for place, (blocked, size) in reversed(list(enumerate(layout.blocks, start=layout.rank))):
        if blocked == axis:
            table += rest % size * strides[place]
            rest = rest // size
    return table + rest * strides[layout.order.index(axis)]


def _is_within(index: Index, extent: int) -> bool:
    if isinstance(index, np.ndarray):
        return bool(index.min() >= 0 and index.max() < extent)
    return 0 <= index < extent
