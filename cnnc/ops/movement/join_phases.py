"""Phases of the stride become positions; made by the compiler, not part of the language."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from cnnc.base.layout import Shape
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.movement.blocks import join_channel, pair_axes, split_channels
from cnnc.ops.movement.movement import Movement, any_block
from cnnc.ops.spec import Blocking, Real, Sample


@dataclass(frozen=True)
class JoinPhases(Movement):
    """[N, C s², H, W] becomes [N, C, *out]: position o comes from (o + before) // s and its phase.

    As `depth_to_space`, with a stride s for each axis, and only `out` positions from `before` on.
    With the mode `crd` channel c s² + i s + j holds phase (i, j) of channel c, so that phases of a
    row are neighbours in memory; with `dcr` channel (i s + j) C + c, so that blocks of channels
    are. Any number of spatial axes.
    """

    stride: Shape
    before: Shape
    out: Shape
    mode: str = "crd"

    name = "join_phases"

    @property
    def label(self) -> str:
        """See Operator."""
        fields = (("stride", self.stride), ("before", self.before), ("out", self.out))
        sizes = ", ".join(f"{name}={list(value)}" for name, value in fields)
        mode = f", mode={self.mode}" if self.mode != "crd" else ""
        return f"join_phases({sizes}{mode})"

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        return x.with_shape((x.shape[0], x.channels // prod(self.stride), *self.out))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        samples, _, *spatial = inputs[0].shape
        rank = len(spatial)
        channels = inputs[0].shape[1] // prod(self.stride)
        extents, at, _ = split_channels(self.mode, channels, self.stride)
        split = np.moveaxis(inputs[0].reshape(samples, *extents, *spatial), 1 + at, 1)
        positions = pair_axes(range(2 + rank, 2 + 2 * rank), range(2, 2 + rank))
        whole = (extent * stride for extent, stride in zip(spatial, self.stride, strict=True))
        joined = split.transpose(0, 1, *positions).reshape(samples, -1, *whole)
        window = (slice(b, b + extent) for b, extent in zip(self.before, self.out, strict=True))
        return joined[(slice(None), slice(None), *window)]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: the last axis in blocks of whole phases, without divisions."""
        *outer, _ = self.out
        names = ("n", "oc", *(f"o{axis}" for axis in range(len(outer))), "block", "phase")
        for block, blocks, phase, phases in self._runs():
            extents = (*build.out.shape[:2], *outer, blocks, phases)
            with build.loops(names, extents) as (n, c, *position, q, r):
                places = [p + b for p, b in zip(position, self.before, strict=False)]
                strides = list(zip(places, self.stride, strict=False))
                within = [*(place % stride for place, stride in strides), r + phase]
                where = [*(place // stride for place, stride in strides), q + block]
                source = join_channel(self.mode, c, build.out.shape[1], within, self.stride)
                last = (q + block) * self.stride[-1] + r + (phase - self.before[-1])
                build.result((n, c, *position, last), inputs[0][(n, source, *where)])

    def _runs(self) -> Iterator[tuple[int, int, int, int]]:
        """Blocks of the last axis and phases in them, (first, count) each; ends may be partial."""
        stride, at = self.stride[-1], self.before[-1]
        end = at + self.out[-1]
        while at < end:
            block, phase = divmod(at, stride)
            blocks = 1 if phase else max(1, (end - at) // stride)
            phases = min(stride - phase, end - at)
            yield block, blocks, phase, phases
            at += (blocks - 1) * stride + phases

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: of whole blocks, vectors of channels are copied."""
        channels = inputs[0].channels // prod(self.stride)
        if self.mode == "dcr" and channels % lanes == 0:
            return Blocking((lanes,), lanes)
        return any_block(inputs[0])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """It has no name in the language: see tests/ops/test_join_phases.py."""
        return ()
