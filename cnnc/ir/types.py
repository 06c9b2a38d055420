"""Types of values in the graph."""

from dataclasses import replace
from math import prod

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout, Shape
from cnnc.base.record import record


@record
class TensorType:
    """Shape, element type and memory layout of one tensor; axis 0 is the batch, 1 the channels."""

    shape: Shape
    dtype: DType
    layout: Layout

    @staticmethod
    def plain(shape: Shape, dtype: DType = DType.F32) -> "TensorType":
        """A row-major tensor."""
        return TensorType(tuple(shape), dtype, Layout.plain(len(shape)))

    @property
    def rank(self) -> int:
        """Number of axes, batch and channels included."""
        return len(self.shape)

    @property
    def spatial(self) -> Shape:
        """Extents after batch and channels: (length,) of a series, (height, width) of an image."""
        return self.shape[2:]

    @property
    def channels(self) -> int:
        """Extent of axis 1."""
        return self.shape[1]

    @property
    def elements(self) -> int:
        """Number of logical elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes in memory, halo and block padding included, other channels between samples not."""
        return self.layout.alone.size(self.shape) * self.dtype.bytes

    def with_shape(self, shape: Shape) -> "TensorType":
        """Same element type, another shape, plain layout."""
        return TensorType.plain(shape, self.dtype)

    def with_layout(self, layout: Layout) -> "TensorType":
        """Same tensor, another place in memory for each element."""
        return replace(self, layout=layout)

    def __str__(self) -> str:
        text = f"{self.dtype}[{', '.join(map(str, self.shape))}]"
        return text if self.layout.is_plain else f"{text}@{self.layout}"
