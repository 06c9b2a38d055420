"""Windows by counting: plain loops over positions and taps that share no code with cnnc."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
EXTENTS, KERNELS, STRIDES = range(1, 7), range(1, 5), range(1, 5)
ENDS = ((0, 0), (1, 1), (2, 2), (0, 1), (2, 0), (1, 2))


@dataclass(frozen=True)
class Axis:
    """A window along one axis."""

    extent: int
    kernel: int
    stride: int
    ends: tuple[int, int]
    dilation: int
    ceil: bool = False

    @property
    def starts(self) -> list[int]:
        """Where windows start: those that end inside the padding; with `ceil` also one that reaches
        beyond it by less than a step, but none that starts behind the input.
        """
        before, after = self.ends
        limit = self.extent + after + (self.stride - 1 if self.ceil else 0)
        found, start = [], -before
        while start + (self.kernel - 1) * self.dilation < limit:
            if self.ceil and start >= self.extent:
                break
            found.append(start)
            start += self.stride
        return found

    def taps(self, start: int) -> list[int]:
        """The places under the window."""
        return [start + k * self.dilation for k in range(self.kernel)]

    @property
    def sees_padding_only(self) -> bool:
        """Whether a window holds no element of the input."""
        return any(
            not any(0 <= place < self.extent for place in self.taps(start)) for start in self.starts
        )


def every_axis() -> Iterator[Axis]:
    """All small windows on all small inputs."""
    for extent, kernel, stride, ends, dilation, ceil in product(
        EXTENTS, KERNELS, STRIDES, ENDS, (1, 2), (False, True)
    ):
        yield Axis(extent, kernel, stride, ends, dilation, ceil)


def some_planes(count: int, seed: int = 0) -> Iterator[tuple[Axis, Axis]]:
    """Pairs of axes, drawn; `ceil` is one for both."""
    rng = np.random.default_rng(seed)
    axes = list(every_axis())
    while count:
        height, width = (axes[i] for i in rng.integers(len(axes), size=2))
        if height.ceil == width.ceil:
            count -= 1
            yield height, width


def pool_by_hand(x: Real, axes: Sequence[Axis], kind: str, count_pad: bool) -> Real:
    """Pooling of x[*spatial]: max, avg or l2."""
    y = np.empty([len(axis.starts) for axis in axes])
    for position in np.ndindex(*y.shape):
        taps = [axis.taps(axis.starts[p]) for axis, p in zip(axes, position, strict=True)]
        inside, counted = [], 0
        for place in product(*taps):
            pairs = list(zip(place, axes, strict=True))
            if all(0 <= at < axis.extent for at, axis in pairs):
                inside.append(float(x[place]))
            low = all(at >= -axis.ends[0] for at, axis in pairs)
            counted += low and all(at < axis.extent + axis.ends[1] for at, axis in pairs)
        match kind:
            case "max":
                y[position] = max(inside)
            case "avg":
                y[position] = math.fsum(inside) / (counted if count_pad else len(inside))
            case "l2":
                y[position] = math.sqrt(math.fsum(value * value for value in inside))
    return y


Weight = Callable[[tuple[int, ...], tuple[int, ...]], Real]


def conv_by_hand(x: Real, axes: Sequence[Axis], weight: Weight) -> Real:
    """Convolution of x[c, *spatial] with weight(tap, position)[o, c]."""
    outs = [len(axis.starts) for axis in axes]
    y = np.zeros((len(weight((0,) * len(axes), (0,) * len(axes))), *outs))
    for position in np.ndindex(*outs):
        for tap in np.ndindex(*(axis.kernel for axis in axes)):
            place = tuple(
                axis.starts[p] + k * axis.dilation
                for axis, p, k in zip(axes, position, tap, strict=True)
            )
            if all(0 <= at < axis.extent for at, axis in zip(place, axes, strict=True)):
                y[(slice(None), *position)] += weight(tap, position) @ x[(slice(None), *place)]
    return y


def transposed_by_hand(
    x: Real, axes: Sequence[Axis], extra: Sequence[int], weight: Callable[[tuple[int, ...]], Real]
) -> Real | None:
    """Transposed convolution of x[c, *spatial] with weight(tap)[c, o]; None if nothing is left."""
    outs = [
        (axis.extent - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1 + more
        - sum(axis.ends)
        for axis, more in zip(axes, extra, strict=True)
    ]  # fmt: skip
    if min(outs) < 1:
        return None
    y = np.zeros((weight((0,) * len(axes)).shape[1], *outs))
    for place in np.ndindex(*x.shape[1:]):
        for tap in np.ndindex(*(axis.kernel for axis in axes)):
            target = tuple(
                p * axis.stride - axis.ends[0] + k * axis.dilation
                for axis, p, k in zip(axes, place, tap, strict=True)
            )
            if all(0 <= at < out for at, out in zip(target, outs, strict=True)):
                y[(slice(None), *target)] += x[(slice(None), *place)] @ weight(tap)
    return y
