"""A convolution as a matrix product, in plain numbers: what the kernels for sums are asked for."""

from itertools import product
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import Bytes
from cnnc.backends.cuda.kernels.epilogue import strides_of
from cnnc.base.dtype import DType
from cnnc.base.half import Half
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.loop.expr import Buffer
from cnnc.loop.task import Task

Reals = NDArray[np.generic]
MOST_LAYERS = 2**12
"""Groups times phases: with parts of sums, they are the grid's third axis, which ends at 65535."""
MOST_ELEMENTS = 2**31 - 2**24
"""Kernels compute offsets in 32 bits, and step some tiles beyond the end."""
CONVOLUTIONS = ("conv", "conv_transpose", "dense")


@record
class Product:
    """y[n, o, oc] = sum over taps k and channels c of x[n, i, c] * w[oc, k, c], channels last.

    At position o of an axis lies y[o * phases + phase], for each phase; there the window begins at
    i = o * stride + starts[phase], and tap k reads i + k * dilation, or zero outside of x. A plain
    convolution has one phase, a transposed one as many as its stride. Each entry is (of rows, of
    columns); `channels` and `filters` count all groups.
    """

    batch: int
    x: tuple[int, int]
    y: tuple[int, int]
    channels: int
    filters: int
    groups: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...]]
    taps: tuple[tuple[int, ...], tuple[int, ...]]
    """How many taps of the kernel each phase has; weights of the rest are zero."""
    pitch: int
    """Elements between pixels of x: its channels, or those of the tensor it is a part of."""

    @property
    def phases(self) -> tuple[int, int]:
        """How many phases each axis has."""
        rows, columns = self.starts
        return len(rows), len(columns)

    @property
    def grid(self) -> tuple[int, int]:
        """Positions of a phase, those of the longest one."""
        rows, columns = map(ceil_div, self.y, self.phases)
        return rows, columns

    @property
    def pixels(self) -> int:
        """Rows of the matrix product of one phase."""
        return self.batch * prod(self.grid)

    @property
    def depth(self) -> int:
        """Products in a sum."""
        return prod(self.kernel) * self.channels // self.groups

    @property
    def layers(self) -> int:
        """Matrix products: for each group and each phase."""
        return self.groups * prod(self.phases)

    @property
    def macs(self) -> int:
        """Multiply-adds, those with zeros of padding included."""
        return self.pixels * self.depth * self.filters * prod(self.phases)

    @property
    def begins(self) -> tuple[str, str]:
        """What is added to a position of each axis where its window begins, as text."""
        (rows, *_), (columns, *_) = self.starts
        return plus(rows), plus(columns)

    @property
    def is_padded(self) -> tuple[bool, bool]:
        """Whether a window reaches beyond x, for each axis."""
        rows, columns = (self._reaches_out(axis) for axis in range(2))
        return rows, columns

    def _reaches_out(self, axis: int) -> bool:
        starts, span = self.starts[axis], (self.kernel[axis] - 1) * self.dilation[axis]
        last = (self.grid[axis] - 1) * self.stride[axis] + max(starts) + span
        return min(starts) < 0 or last >= self.x[axis]


def plus(number: int) -> str:
    """What adds a number, nothing for zero."""
    return f" {'+' if number > 0 else '-'} {abs(number)}" if number else ""


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def product_of(task: Task, *, in_planes: bool = False) -> Product | None:
    """The matrix product that a task is, None where it is none of float32.

    The channels of x have to be next to each other, or to lie in planes.
    """
    if task.op not in CONVOLUTIONS:
        return None
    x, weight, y = task.param("x"), task.param("weight"), task.param("y")
    elements = (each.size for each in (x, weight, y))
    if any(each.dtype is not DType.F32 for each in (x, weight, y)) or max(elements) > MOST_ELEMENTS:
        return None
    if len(y.shape) > 4 or not (x.layout.is_plain if in_planes else is_channels_last(x)):
        return None
    if task.op == "dense":
        return _dense(x.shape, y.shape)
    assert task.windows is not None
    windows = task.windows
    extents = (windows.kernel, windows.stride, windows.dilation)
    kernel, stride, dilation = (both_axes(each, 1) for each in extents)
    before = both_axes(tuple(first for first, _ in windows.pads), 0)
    x_space, y_space = both_axes(x.shape[2:], 1), both_axes(y.shape[2:], 1)
    channels, filters, pitch = x.shape[1], y.shape[1], x.layout.within or x.shape[1]
    if task.op == "conv":
        groups = channels // weight.shape[1]
        starts = ((-before[0],), (-before[1],))
        extents = (kernel, stride, dilation)
        taps = ((kernel[0],), (kernel[1],))
        sizes = (channels, filters, groups)
        return Product(y.shape[0], x_space, y_space, *sizes, *extents, starts, taps, pitch)
    groups = filters // weight.shape[1]
    turned = [_turned(*each) for each in zip(kernel, stride, dilation, before, strict=True)]
    return Product(
        y.shape[0],
        x_space,
        y_space,
        channels,
        filters,
        groups,
        (turned[0].taps, turned[1].taps),
        (1, 1),
        (turned[0].dilation, turned[1].dilation),
        (turned[0].starts, turned[1].starts),
        (turned[0].counts, turned[1].counts),
        pitch,
    )


def _dense(x: Shape, y: Shape) -> Product | None:
    if len(x) != 2 or len(y) != 2:
        return None
    one = (1, 1)
    return Product(y[0], one, one, x[1], y[1], 1, one, one, one, ((0,), (0,)), ((1,), (1,)), x[1])


def both_axes(extents: Shape, missing: int) -> tuple[int, int]:
    """One or two spatial axes as two: the first is of one element where there is none."""
    rows, columns = (missing,) * (2 - len(extents)) + tuple(extents)
    return rows, columns


def is_channels_last(buffer: Buffer) -> bool:
    """Whether the channels of a pixel are neighbours, and pixels are the same distance apart."""
    layout, rank = buffer.layout, len(buffer.shape)
    if layout.blocks or layout.halo:
        return False
    if layout.within:
        return layout.has_channels_last
    wanted = strides_of((0, *range(2, rank), 1), buffer.shape)
    found = strides_of(layout.order, buffer.shape)
    return all(n == 1 or a == b for n, a, b in zip(buffer.shape, wanted, found, strict=True))


@record
class Turned:
    """An axis of a transposed convolution as plain ones; `picks[phase]` are its taps in order."""

    taps: int
    dilation: int
    starts: tuple[int, ...]
    picks: tuple[tuple[int, ...], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Taps of each phase."""
        return tuple(map(len, self.picks))


def _turned(kernel: int, stride: int, dilation: int, before: int) -> Turned:
    """Phase p of the result reads x[o + (p + before - k * dilation) / stride], where that is whole.

    The taps are those k, backwards, so that x is read forwards.
    """
    common = gcd(stride, dilation)
    most = ceil_div(kernel, stride // common)
    starts, picks = [], []
    for phase in range(stride):
        taps = [k for k in range(kernel) if (phase + before - k * dilation) % stride == 0]
        taps.reverse()
        first = (phase + before - taps[0] * dilation) // stride if taps else 0
        starts.append(first)
        picks.append(tuple(taps))
    return Turned(most, dilation // common, tuple(starts), tuple(picks))


def as_bytes(weights: NDArray[np.float32], half: Half | None) -> Bytes:
    """Packed weights as they lie in memory, rounded where that has 16 bits."""
    return (half.narrow(weights) if half else weights).reshape(-1).view(np.uint8)


def weights_of(task: Task, weight: Reals) -> Reals:
    """The weights as [layer, filter of the group, kernel row, kernel column, channel].

    Layers count phases of columns fastest, then phases of rows, then groups.
    """
    weight = np.asarray(weight, np.float32)
    if task.op == "dense":
        return weight.reshape(1, weight.shape[0], 1, 1, -1)
    if weight.ndim == 3:
        weight = weight[:, :, None]
    assert task.windows is not None
    if task.op == "conv":
        groups = task.param("x").shape[1] // weight.shape[1]
        parts = weight.reshape(groups, -1, *weight.shape[1:])
        return parts.transpose(0, 1, 3, 4, 2)
    groups = task.param("y").shape[1] // weight.shape[1]
    parts = weight.reshape(groups, -1, *weight.shape[1:]).transpose(0, 2, 3, 4, 1)
    return _by_phase(task, parts)


def _by_phase(task: Task, parts: Reals) -> Reals:
    """[group, filter, kernel row, kernel column, channel] with the taps of each phase apart."""
    windows = task.windows
    assert windows is not None
    before = both_axes(tuple(first for first, _ in windows.pads), 0)
    extents = (windows.kernel, windows.stride, windows.dilation)
    axes = zip(*(both_axes(each, 1) for each in extents), before, strict=True)
    rows, columns = (_turned(*each) for each in axes)
    groups, filters, _, _, channels = parts.shape
    shape = (
        groups,
        len(rows.picks),
        len(columns.picks),
        filters,
        rows.taps,
        columns.taps,
        channels,
    )
    made = np.zeros(shape, np.float32)
    for (p, down), (q, across) in product(enumerate(rows.picks), enumerate(columns.picks)):
        for (i, row), (j, column) in product(enumerate(down), enumerate(across)):
            made[:, p, q, :, i, j] = parts[:, :, row, column]
    return made.reshape(-1, *shape[3:])
