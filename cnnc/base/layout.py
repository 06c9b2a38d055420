"""How the elements of a tensor lie in memory.

A layout is written as oneDNN writes memory format tags: one letter per axis, outermost first, a
capital where the axis is also blocked, then the blocks. `abcd` is plain NCHW; `aBcd16b` keeps
sixteen channels together; `ABcd16b32a` is how convolution weights are packed. A halo is a border
of zeros kept around the tensor in memory, so that padded convolutions need no bounds tests; it is
written after the tag as `+c1:1`, the elements before and after each axis that has one. Where a
tensor is some of the channels of a larger one, other channels lie between its samples: `/96` at the
end says how many channels the larger one has.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
_LETTERS = "abcdefghijklmnop"


def channel_block(channels: int, lanes: int) -> int:
    """Channels kept together: a vector, or the narrowest half or quarter that holds them all."""
    block = lanes
    while block > 4 and block // 2 >= channels:
        block //= 2
    return block if channels > 1 else 1


@dataclass(frozen=True)
class Layout:
    """Order of axes, blocks (axis, size) outermost first, and a zero halo per axis.

    `within` is the number of channels of the tensor this is a part of, 0 where it lies alone. Where
    channels are outside of positions, it makes a difference between samples only, so that a single
    sample has none.
    """

    order: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...] = ()
    halo: tuple[tuple[int, int], ...] = ()
    within: int = 0

    @staticmethod
    def plain(rank: int) -> "Layout":
        """Row-major, no blocks, no halo."""
        return Layout(tuple(range(rank)))

    @staticmethod
    def blocked(rank: int, axis: int, size: int) -> "Layout":
        """Row-major with `size` neighbours along `axis` kept together; plain if size is 1."""
        return Layout(tuple(range(rank)), ((axis, size),) if size > 1 else ())

    @staticmethod
    def channels_last(rank: int, positions: int | None = None) -> "Layout":
        """Axis 1 innermost, as in NHWC; plain for fewer than three axes.

        `positions` says how many axes, the last ones, count positions where these are not all but
        two: those between them and the batch are innermost then.
        """
        first = 2 if positions is None else rank - positions
        order = (0, *range(first, rank), *range(1, first))
        return Layout(order) if rank > 2 else Layout.plain(rank)

    def with_halo(self, halo: tuple[tuple[int, int], ...]) -> "Layout":
        """The same layout with this halo; an all-zero halo is the same as none."""
        return replace(self, halo=halo if any(map(any, halo)) else ())

    @property
    def alone(self) -> "Layout":
        """The same layout of a tensor that is no part of a larger one."""
        return replace(self, within=0) if self.within else self

    @property
    def has_channels_last(self) -> bool:
        """Whether neighbouring channels of a position are neighbours in memory."""
        return self.rank > 2 and self.order[-1] == 1

    @property
    def rank(self) -> int:
        """Number of logical axes."""
        return len(self.order)

    @property
    def is_plain(self) -> bool:
        """Whether memory is simply the row-major array."""
        return self == Layout.plain(self.rank)

    def block(self, axis: int) -> int:
        """How many neighbours along the axis are kept together (1: not blocked)."""
        return prod(size for blocked, size in self.blocks if blocked == axis)

    def halo_of(self, axis: int) -> tuple[int, int]:
        """Zeros kept before and after the axis."""
        return self.halo[axis] if self.halo else (0, 0)

    def extent(self, shape: Shape, axis: int) -> int:
        """Elements along the axis in memory, with halo and rounded up to whole blocks."""
        low, high = self.halo_of(axis)
        block = self.block(axis)
        return -(-(shape[axis] + low + high) // block) * block

    def physical_shape(self, shape: Shape) -> Shape:
        """Shape of the array in memory, blocks last; with the channels of the whole tensor."""
        return _physical_shape(self, shape)

    def extents(self, shape: Shape) -> list[tuple[int, int]]:
        """(axis, extent in memory) in the order of the axes."""
        whole = (*shape[:1], self.within, *shape[2:]) if self.within else shape
        return [(axis, self.extent(whole, axis)) for axis in self.order]

    def size(self, shape: Shape) -> int:
        """Elements from the first to the last in memory, halo and padding included."""
        return prod(self.physical_shape(shape)) - self.start(shape, self._others(shape))

    def start(self, shape: Shape, channel: int) -> int:
        """Elements that lie before a channel, the first of a block, in the memory of a sample."""
        if not channel:
            return 0
        inner = self.physical_shape(shape)[self.order.index(1) + 1 :]
        return channel // self.block(1) * prod(inner)

    def _others(self, shape: Shape) -> int:
        """Channels of the whole tensor that are not of this part, blocks filled up."""
        if not self.within:
            return 0
        whole = (shape[0], self.within, *shape[2:])
        return self.extent(whole, 1) - self.extent(shape, 1)

    def pack(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """The array as it lies in memory; halo, padding and other channels are zero."""
        memory = np.ascontiguousarray(self._arranged(array))
        return memory.reshape(-1)[: self.size(array.shape)] if self.within else memory

    def pack_rows(
        self, rows: NDArray[np.generic], start: int, memory: NDArray[np.generic], shape: Shape
    ) -> None:
        """Write the rows from `start` on of an array of this shape to where they lie.

        `memory` has all its elements, and the padding written already. `start` is a multiple of
        the block of the first axis, which has no halo.
        """
        axis = self.order.index(0)
        first = start // self.block(0)
        arranged = self._arranged(rows)
        place = (slice(None),) * axis + (slice(first, first + arranged.shape[axis]),)
        memory.reshape(self.physical_shape(shape))[place] = arranged

    def _arranged(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """The array with axes and elements in the order of memory, not yet copied into it."""
        widths = []
        for axis in range(self.rank):
            low, _ = self.halo_of(axis)
            high = self.extent(array.shape, axis) - low - array.shape[axis]
            widths.append((low, high + (self._others(array.shape) if axis == 1 else 0)))
        padded = np.pad(array, widths) if any(map(any, widths)) else array
        split, places = self._split(padded.shape)
        return padded.reshape(split).transpose(places)

    def unpack(self, memory: NDArray[np.generic], shape: Shape) -> NDArray[np.generic]:
        """The logical array of this shape, from memory as `pack` made it."""
        padded_shape = tuple(extent for _, extent in sorted(self.extents(shape)))
        _, places = self._split(padded_shape)
        physical_shape = self.physical_shape(shape)
        rest = prod(physical_shape) - self.size(shape)
        physical = (np.pad(memory, (0, rest)) if rest else memory).reshape(physical_shape)
        padded = physical.transpose(np.argsort(places)).reshape(padded_shape)
        window = tuple(
            slice(self.halo_of(axis)[0], self.halo_of(axis)[0] + shape[axis])
            for axis in range(self.rank)
        )
        return np.ascontiguousarray(padded[window])

    def _split(self, padded: Shape) -> tuple[Shape, tuple[int, ...]]:
        """Shape with every axis split into its blocks, and where memory order finds each part."""
        split: list[int] = []
        outer_place: dict[int, int] = {}
        block_places: dict[int, list[int]] = {}
        for axis in range(self.rank):
            sizes = [size for blocked, size in self.blocks if blocked == axis]
            outer_place[axis] = len(split)
            split.append(padded[axis] // prod(sizes))
            block_places[axis] = list(range(len(split), len(split) + len(sizes)))
            split.extend(sizes)
        places = [outer_place[axis] for axis in self.order]
        places += [block_places[axis].pop(0) for axis, _ in self.blocks]
        return tuple(split), tuple(places)

    @cached_property
    def tag(self) -> str:
        """The layout as text; `parse` reads it back."""
        blocked = {axis for axis, _ in self.blocks}
        text = "".join(
            _LETTERS[axis].upper() if axis in blocked else _LETTERS[axis] for axis in self.order
        )
        text += "".join(f"{size}{_LETTERS[axis]}" for axis, size in self.blocks)
        for axis, (low, high) in enumerate(self.halo):
            if low or high:
                text += f"+{_LETTERS[axis]}{low}:{high}"
        return text + (f"/{self.within}" if self.within else "")

    @staticmethod
    def parse(tag: str) -> "Layout":
        """The layout a tag names; raises ValueError on text that is no tag."""
        match = re.fullmatch(r"([a-pA-P]+)((?:\d+[a-p])*)((?:\+[a-p]\d+:\d+)*)(/\d+)?", tag)
        if match is None:
            raise ValueError(f"invalid layout {tag!r}")
        order = tuple(_LETTERS.index(letter.lower()) for letter in match[1])
        if sorted(order) != list(range(len(order))):
            raise ValueError(f"invalid layout {tag!r}: every axis must stand once")
        blocks = tuple(
            (_LETTERS.index(axis), int(size))
            for size, axis in re.findall(r"(\d+)([a-p])", match[2])
        )
        halo = [(0, 0)] * len(order)
        for axis, low, high in re.findall(r"\+([a-p])(\d+):(\d+)", match[3]):
            halo[_LETTERS.index(axis)] = (int(low), int(high))
        within = int(match[4][1:]) if match[4] else 0
        layout = Layout(order, blocks, (), within).with_halo(tuple(halo))
        if layout.tag != tag:
            raise ValueError(f"invalid layout {tag!r}: the canonical form is {layout.tag!r}")
        return layout

    def __str__(self) -> str:
        return self.tag


@lru_cache(1 << 12)
def _physical_shape(layout: Layout, shape: Shape) -> Shape:
    outer = tuple(extent // layout.block(axis) for axis, extent in layout.extents(shape))
    return outer + tuple(size for _, size in layout.blocks)
