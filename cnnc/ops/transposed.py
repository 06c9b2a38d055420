"""Transposed windows: what lies where, and how positions fall into phases of the stride."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from math import gcd, prod

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.expr import Expr
from cnnc.ops.attributes import Padding, spread
from cnnc.ops.spec import Real
from cnnc.ops.window import LARGEST_PADDED, axes_text, paddings_help


@record
class Phase:
    """Neighbouring positions along one axis, modulo the stride, with as many taps each.

    For 0 ≤ c < count, 0 ≤ q < out and 0 ≤ j < taps, position q * stride + offset + c receives the
    weight at first + c + j * skip times the input at q + start - j * step.
    """

    stride: int
    offset: int
    count: int
    out: int
    taps: int
    start: int = 0
    step: int = 0
    first: int = 0
    skip: int = 0

    def position(self, q: Expr, c: Expr) -> Expr:
        """Where the result is written."""
        return q * self.stride + c + self.offset

    def reads(self, q: Expr, j: Expr) -> Expr:
        """The position of the input under tap j."""
        return q + self.start - j * self.step

    def weight(self, c: Expr, j: Expr) -> Expr:
        """The position of the weight of tap j."""
        return c + j * self.skip + self.first

    @property
    def reach(self) -> tuple[int, int]:
        """Smallest and largest position of the input that is read."""
        return self.start - (self.taps - 1) * self.step, self.out - 1 + self.start


@record
class TransposedWindow:
    """A transposed window with everything resolved: one entry per spatial axis in each field.

    The input at position i is multiplied into out[i * stride - before + k * dilation] for
    k < kernel; what falls outside the `out` positions is cropped.
    """

    kernel: Shape
    stride: Shape
    dilation: Shape
    crop: tuple[tuple[int, int], ...]
    out: Shape

    def span(self, axis: int) -> int:
        """Positions that one element of the input reaches along the axis, gaps included."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def extended(self, axis: int, extent: int) -> int:
        """Positions along the axis before anything is cropped, at least as many as are kept."""
        before, _ = self.crop[axis]
        return max((extent - 1) * self.stride[axis] + self.span(axis), before + self.out[axis])

    def taps(self, y: Real, spatial: Shape) -> Iterator[tuple[tuple[int, ...], Real]]:
        """For each tap the part of y[n, c, *extended] where it adds the input, as a view."""
        for tap in product(*map(range, self.kernel)):
            window = tuple(
                slice(k * d, k * d + (extent - 1) * s + 1, s)
                for k, d, s, extent in zip(tap, self.dilation, self.stride, spatial, strict=True)
            )
            yield tap, y[(slice(None), slice(None), *window)]

    def cropped(self, y: Real) -> Real:
        """The positions that are kept of y[n, c, *extended]."""
        window = tuple(
            slice(before, before + out)
            for (before, _), out in zip(self.crop, self.out, strict=True)
        )
        return y[(slice(None), slice(None), *window)]

    def phases(self, axis: int) -> tuple[Phase, ...]:
        """The phases of all positions along an axis, in order.

        Position o receives tap k where o + before - k * dilation is a multiple of the stride.
        """
        stride, out = self.stride[axis], self.out[axis]
        last = min(stride, out)
        cuts = {0, last, min(out % stride, last)}
        for tap in range(min(self.kernel[axis], stride)):
            at = (tap * self.dilation[axis] - self.crop[axis][0]) % stride
            cuts |= {min(at, last), min(at + 1, last)}
        ordered = sorted(cuts)
        phases: list[Phase] = []
        for low, high in pairwise(ordered):
            phase = self._phase(axis, low, high - low)
            if phases and _continues(phases[-1], phase):
                whole = phases.pop()
                phase = Phase(
                    stride,
                    whole.offset,
                    whole.count + phase.count,
                    *(whole.out, whole.taps, whole.start, whole.step, whole.first, whole.skip),
                )
            phases.append(phase)
        return tuple(phases)

    def _phase(self, axis: int, offset: int, count: int) -> Phase:
        """The phase of `count` positions from `offset` on; more than one only without taps."""
        stride, dilation, kernel = self.stride[axis], self.dilation[axis], self.kernel[axis]
        common = gcd(stride, dilation)
        skip, step = stride // common, dilation // common
        out = -(-(self.out[axis] - offset) // stride)
        place = offset + self.crop[axis][0]
        first = place // common * pow(step, -1, skip) % skip
        if place % common or first >= kernel:
            return Phase(stride, offset, count, out, 0)
        taps = -(-(kernel - first) // skip)
        start = (place - first * dilation) // stride
        return Phase(stride, offset, count, out, taps, start, step, first, skip)

    def most_taps(self) -> int:
        """Taps of the window that meet at one position, at most."""
        return prod(max(p.taps for p in self.phases(axis)) for axis in range(len(self.kernel)))

    def halo(self, spatial: Shape) -> tuple[tuple[int, int], ...]:
        """Positions read before and after each axis of an input with these spatial extents."""
        reach = []
        for axis, extent in enumerate(spatial):
            reaches = [phase.reach for phase in self.phases(axis) if phase.taps]
            before = max((-low for low, _ in reaches), default=0)
            after = max((high + 1 - extent for _, high in reaches), default=0)
            reach.append((max(0, before), max(0, after)))
        return tuple(reach)


def _continues(phase: Phase, other: Phase) -> bool:
    """Whether one formula holds for both; phases without taps need agree in little."""
    same = (phase.out, phase.taps, phase.start, phase.step, phase.skip)
    if same != (other.out, other.taps, other.start, other.step, other.skip):
        return False
    return phase.taps == 0 or other.first == phase.first + phase.count


def resolve_transposed(
    x: TensorType,
    kernel: Sequence[int],
    stride: tuple[int, ...],
    pad: Padding,
    dilation: tuple[int, ...],
    output_pad: tuple[int, ...],
) -> TransposedWindow:
    """The transposed window of an operator on `x`; OpError where it does not fit.

    `same` and `causal` give extent * stride positions and leave `output_pad` no meaning; explicit
    padding crops what (extent - 1) * stride + span + output_pad positions there are.
    """
    rank = len(x.spatial)
    kernels = spread(tuple(kernel), rank, "kernel")
    strides, dilations = spread(stride, rank, "stride"), spread(dilation, rank, "dilation")
    extra = spread(output_pad, rank, "output_pad")
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernels, dilations, strict=True))
    _check_output_pad(pad, extra, strides, dilations)
    crop = resolve_crop(pad, rank, spans, strides)
    out = []
    for axis, extent in enumerate(x.spatial):
        if pad.rule in ("same", "same_lower", "causal"):
            out.append(extent * strides[axis])
            continue
        whole = (extent - 1) * strides[axis] + spans[axis] + extra[axis]
        before, after = crop[axis]
        if whole - before - after < 1:
            raise OpError(
                "the padding crops the whole result",
                at="pad",
                note=f"spatial axis {axis}: ({extent} - 1) × {strides[axis]} + {spans[axis]} + "
                f"{extra[axis]} = {whole}, less {before} + {after}",
                help="pad less, or use a larger window or stride",
            )
        out.append(whole - before - after)
    window = TransposedWindow(kernels, strides, dilations, crop, tuple(out))
    _check_extended_size(x, window)
    return window


def resolve_crop(
    pad: Padding, rank: int, spans: Shape, strides: Shape
) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis: how many positions are cropped.

    `same` crops span - stride, the odd one after the result (`same_lower`: before); `causal` crops
    only after it.
    """
    if pad.rule == "explicit":
        if len(pad.explicit) not in (1, rank):
            raise OpError(
                f"{len(pad.explicit)} paddings for {axes_text(rank)}",
                at="pad",
                help=paddings_help(pad, rank),
            )
        return pad.explicit * (rank if len(pad.explicit) == 1 else 1)
    if pad.rule == "valid":
        return ((0, 0),) * rank
    crop = []
    for span, stride in zip(spans, strides, strict=True):
        total = max(0, span - stride)
        small = 0 if pad.rule == "causal" else total // 2
        ends = (small, total - small)
        crop.append(ends[::-1] if pad.rule == "same_lower" else ends)
    return tuple(crop)


def _check_output_pad(pad: Padding, extra: Shape, strides: Shape, dilations: Shape) -> None:
    if not any(extra):
        return
    if pad.rule in ("same", "same_lower", "causal"):
        raise OpError(
            f"`output_pad` means nothing to `{pad.rule}`",
            at="output_pad",
            note=f"`{pad.rule}` gives extent × stride positions",
        )
    for axis, (more, stride, dilation) in enumerate(zip(extra, strides, dilations, strict=True)):
        if more >= max(stride, dilation):
            raise OpError(
                "the output padding must be smaller than the stride or the dilation",
                at="output_pad",
                note=f"spatial axis {axis}: {more}, stride {stride}, dilation {dilation}",
            )


def _check_extended_size(x: TensorType, window: TransposedWindow) -> None:
    extended = [window.extended(axis, extent) for axis, extent in enumerate(x.spatial)]
    elements = prod((x.shape[0], *extended))
    if elements > LARGEST_PADDED:
        raise OpError(
            "the result is too large before it is cropped",
            at="stride",
            note=f"{' × '.join(map(str, (x.shape[0], *extended)))} = {elements} elements of each "
            f"channel, the limit is {LARGEST_PADDED}",
            help="use a smaller stride, window or dilation",
        )
