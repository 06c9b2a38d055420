"""Weights of a transposed convolution as those of a convolution that computes all phases."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from cnnc.base.layout import Shape
from cnnc.ir.graph import Array, Constant, cuts
from cnnc.ops.movement.blocks import pair_axes


@dataclass(frozen=True, slots=True, eq=False)
class Phased:
    """Weights [I, O, *kernel] as [O * phases, I, *taps], taps in reverse: see Recipe.

    The window is a multiple of the stride along each axis. Tap j of phase r is tap r + j * stride.
    """

    weight: Constant
    stride: Shape
    dtype: np.dtype[np.generic]

    @property
    def shape(self) -> Shape:
        """See Recipe."""
        sources, channels, *kernel = self.weight.source.shape
        taps = (extent // stride for extent, stride in zip(kernel, self.stride, strict=True))
        return (channels * prod(self.stride), sources, *taps)

    @property
    def identity(self) -> object:
        """See Recipe."""
        return self

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe."""
        return self.weight.magnitudes

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe: made whole, as every part needs a piece of each row of the weights."""
        rank, shape = len(self.stride), self.shape
        split = pair_axes(shape[2:], self.stride)
        whole = self.weight.value.reshape(shape[1], -1, *split)
        taps, phases = (tuple(range(first, 2 + 2 * rank, 2)) for first in (2, 3))
        whole = np.flip(whole, taps).transpose(1, *phases, 0, *taps).reshape(shape)
        return (whole[cut] for cut in cuts(shape, rows))
