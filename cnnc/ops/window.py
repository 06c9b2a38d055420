"""Sliding windows: what convolution and pooling share."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import maximum, minimum
from cnnc.loop.expr import Expr
from cnnc.ops.attributes import Padding, spread
from cnnc.ops.spec import Real

Positions = NDArray[np.int64]
MOST_COLUMNS = 2**22
"""Elements under windows that are copied at once."""
LARGEST_PADDED = 2**32
"""Elements of an operand at most, its padding included: code and reference may store it so."""


@record
class Window:
    """A window over the spatial axes with everything resolved: one entry per axis in each field.

    `pads` is (before, after); `out` the number of positions. The window at position o reads
    x[o * stride - before + k * dilation] for k < kernel.
    """

    kernel: Shape
    stride: Shape
    dilation: Shape
    pads: tuple[tuple[int, int], ...]
    out: Shape

    def position(self, out: Sequence[Expr], tap: Sequence[Expr]) -> tuple[Expr, ...]:
        """The input position under window tap `tap` at output position `out`."""
        return tuple(
            o * s + k * d - before
            for o, s, k, d, (before, _) in zip(
                out, self.stride, tap, self.dilation, self.pads, strict=True
            )
        )

    def taps(self, x: Real, fill: float) -> Iterator[tuple[tuple[int, ...], Real]]:
        """For each tap of the windows on x[n, c, *spatial], what lies under it: [n, c, *out].

        `fill` stands outside. One tap at a time, as all together may be too large for memory.
        """
        padded = self._padded(x, fill)
        for tap in product(*map(range, self.kernel)):
            window = tuple(
                slice(k * d, k * d + (o - 1) * s + 1, s)
                for k, d, s, o in zip(tap, self.dilation, self.stride, self.out, strict=True)
            )
            yield tap, padded[(slice(None), slice(None), *window)]

    def columns(self, x: Real, fill: float) -> Iterator[tuple[slice, Real]]:
        """What lies under the windows on x[n, c, *spatial]: [n, c, *kernel, *out], row by row.

        Rows are positions along the first spatial axis, several at once; `fill` stands outside. All
        of them together may be too large for memory.
        """
        spatial = tuple(range(2, x.ndim))
        spans = tuple(self.span(axis) for axis in range(len(self.kernel)))
        under = np.lib.stride_tricks.sliding_window_view(self._padded(x, fill), spans, spatial)
        starts = [slice(0, (o - 1) * s + 1, s) for o, s in zip(self.out, self.stride, strict=True)]
        taps = [slice(None, None, d) for d in self.dilation]
        under = under[(slice(None), slice(None), *starts, *taps)]
        under = np.moveaxis(under, spatial, range(-len(spans), 0))
        many = max(1, MOST_COLUMNS * self.out[0] // under.size)
        for start in range(0, self.out[0], many):
            rows = slice(start, start + many)
            yield rows, np.moveaxis(np.moveaxis(under, -len(spans), 0)[rows], 0, -len(spans))

    def _padded(self, x: Real, fill: float) -> Real:
        """`x` with everything around it that a window reaches."""
        reach = []
        for axis, extent in enumerate(x.shape[2:]):
            before, _ = self.pads[axis]
            last = (self.out[axis] - 1) * self.stride[axis] + self.span(axis)
            reach.append((before, max(0, last - before - extent)))
        return np.pad(x, [(0, 0), (0, 0), *reach], constant_values=fill)

    def span(self, axis: int) -> int:
        """Input positions one window covers along the axis, gaps included."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def taps_inside(
        self, axis: int, extent: int, *, padded: bool = False, until: int | None = None
    ) -> tuple[Positions, Positions]:
        """For each position along the axis, the taps first ≤ k < last that lie inside the input.

        With `padded` the padding counts as input; `until` leaves out later positions.
        """
        count = self.out[axis] if until is None else min(until, self.out[axis])
        start = np.arange(count, dtype=np.int64) * self.stride[axis]
        low, high = self._limits(axis, extent, padded)
        d = self.dilation[axis]
        first = np.maximum(0, (low - start + d - 1) // d)
        last = np.minimum(self.kernel[axis], (high - start + d - 1) // d)
        return first, np.maximum(first, last)

    def count_inside(self, axis: int, extent: int, position: Expr, *, padded: bool = False) -> Expr:
        """How many taps `taps_inside` finds at one position; there is at least one."""
        start = position * self.stride[axis]
        low, high = self._limits(axis, extent, padded)
        d = self.dilation[axis]
        first = maximum((low - start + (d - 1)) // d, 0)
        return minimum((high - start + (d - 1)) // d, self.kernel[axis]) - first

    def _limits(self, axis: int, extent: int, padded: bool) -> tuple[int, int]:
        before, after = self.pads[axis]
        return (0, before + extent + after) if padded else (before, before + extent)

    def halo(self, spatial: Shape) -> tuple[tuple[int, int], ...]:
        """Positions read before and after each axis of an input with these spatial extents."""
        reach = []
        for axis, extent in enumerate(spatial):
            before, _ = self.pads[axis]
            last = (self.out[axis] - 1) * self.stride[axis] - before + self.span(axis)
            reach.append((before, max(0, last - extent)))
        return tuple(reach)


@lru_cache(maxsize=1024)
def resolve_window(
    x: TensorType,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pad: Padding,
    dilation: tuple[int, ...],
    *,
    ceil: bool = False,
    at: str = "kernel",
) -> Window:
    """The window of an operator on `x`; OpError where it does not fit.

    `at` is the attribute that gives the window's extents. With `ceil` a last window may reach
    beyond the padding after the input by less than a step, and none starts behind the input.
    """
    rank = len(x.spatial)
    if rank < 1:
        raise OpError(
            "the operand has no spatial axes",
            at=0,
            note=f"its shape is {list(x.shape)}; windows slide over the axes after batch, channels",
        )
    kernels = spread(tuple(kernel), rank, at)
    strides, dilations = spread(stride, rank, "stride"), spread(dilation, rank, "dilation")
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernels, dilations, strict=True))
    pads = resolve_padding(pad, x.spatial, spans, strides)
    check_padded_size(x, pads)
    out = tuple(
        _positions(axis, extent, span, s, ends, ceil, at)
        for axis, (extent, span, s, ends) in enumerate(
            zip(x.spatial, spans, strides, pads, strict=True)
        )
    )
    return Window(kernels, strides, dilations, pads, out)


def check_padded_size(x: TensorType, pads: Sequence[tuple[int, int]]) -> None:
    """OpError at `pad` where the operand with its padding has too many elements."""
    padded = [extent + sum(ends) for extent, ends in zip(x.spatial, pads, strict=True)]
    elements = prod((*x.shape[:2], *padded))
    if any(map(any, pads)) and elements > LARGEST_PADDED:
        raise OpError(
            "the padded operand is too large",
            at="pad",
            note=f"with its padding it is {[*x.shape[:2], *padded]}: {elements} elements, the "
            f"limit is {LARGEST_PADDED}",
            help="pad less, or use a smaller window or dilation",
        )


def axes_text(rank: int) -> str:
    """Spatial axes and how many."""
    return f"{rank} spatial ax{'is' if rank == 1 else 'es'}"


def paddings_help(pad: Padding, rank: int) -> str:
    """How to write paddings, where their number is not that of the spatial axes."""
    if rank > 1:
        return f"give one for all axes, or {rank}"
    ends = [before if before == after else [before, after] for before, after in pad.explicit]
    both = f"; `[[{ends[0]}, {ends[1]}]]` is before and after" if len(ends) == 2 else ""
    return f"give one for both ends of the axis{both}"


def resolve_padding(
    pad: Padding, spatial: Shape, spans: Shape, stride: Shape
) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis.

    `same` gives ceil(extent / stride) positions, the odd pixel after (`same_lower`: before), as
    ONNX's SAME_UPPER and SAME_LOWER; `causal` pads only before.
    """
    if pad.rule == "explicit":
        if len(pad.explicit) not in (1, len(spatial)):
            raise OpError(
                f"{len(pad.explicit)} paddings for {axes_text(len(spatial))}",
                at="pad",
                help=paddings_help(pad, len(spatial)),
            )
        return pad.explicit * (len(spatial) if len(pad.explicit) == 1 else 1)
    if pad.rule == "valid":
        return ((0, 0),) * len(spatial)
    if pad.rule == "causal":
        return tuple((span - 1, 0) for span in spans)
    pads = []
    for extent, span, s in zip(spatial, spans, stride, strict=True):
        total = max(0, (-(-extent // s) - 1) * s + span - extent)
        small, large = total // 2, total - total // 2
        pads.append((small, large) if pad.rule == "same" else (large, small))
    return tuple(pads)


def _positions(
    axis: int, extent: int, span: int, stride: int, ends: tuple[int, int], ceil: bool, at: str
) -> int:
    padded = extent + sum(ends)
    steps = padded - span + (stride - 1 if ceil else 0)
    count = steps // stride + 1
    if ceil:
        starts_inside = -(-(extent + ends[0]) // stride)
        count = min(count, starts_inside)
    if count < 1:
        raise OpError(
            "the window does not fit its input",
            at=at,
            note=f"spatial axis {axis}: {extent} + {ends[0]} + {ends[1]} of padding = {padded}, "
            f"the window covers {span}",
            help="pad more, or use a smaller window or dilation",
        )
    return count
