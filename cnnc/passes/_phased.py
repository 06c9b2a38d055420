"""Weights of a transposed convolution as those of a convolution that computes all phases."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.ir.graph import Array, Constant, cuts
from cnnc.ir.types import TensorType
from cnnc.ops.movement.blocks import pair_axes
from cnnc.passes._derived import Derived


@dataclass(frozen=True, slots=True, eq=False)
class Phased(Derived):
    """Weights [I, O, *kernel] of groups as [O * phases, I, *taps], taps in reverse: see Recipe.

    Channels are ordered as `mode` says (see JoinPhases).

    The window is a multiple of the stride along each axis. Tap j of phase r is tap r + j * stride.
    """

    weight: Constant
    groups: int
    stride: Shape
    mode: str
    type: TensorType

    @staticmethod
    def of(weight: Constant, groups: int, stride: Shape, mode: str, dtype: DType) -> "Phased":
        """The recipe, of the type that follows from the weights."""
        sources, channels, *kernel = weight.source.shape
        sources, channels = sources // groups, channels * groups
        taps = (extent // step for extent, step in zip(kernel, stride, strict=True))
        shape = (channels * prod(stride), sources, *taps)
        return Phased(weight, groups, stride, mode, TensorType.plain(shape, dtype))

    @property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe."""
        return self.weight.magnitudes

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe: made whole, as every part needs a piece of each row of the weights."""
        rank, shape = len(self.stride), self.shape
        split = pair_axes(shape[2:], self.stride)
        whole = self.weight.value.reshape(self.groups, shape[1], -1, *split)
        taps, phases = (tuple(range(first, 3 + 2 * rank, 2)) for first in (3, 4))
        order = (*phases, 0, 2) if self.mode == "dcr" else (0, 2, *phases)
        whole = np.flip(whole, taps).transpose(*order, 1, *taps).reshape(shape)
        return (whole[cut] for cut in cuts(shape, rows))
