"""Channels become positions."""

from collections.abc import Sequence
from math import prod

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.attributes import Choice, Extents
from cnnc.ops.movement.blocks import (
    MODES,
    block_extents,
    join_channel,
    pair_axes,
    require_multiple,
    split_channels,
)
from cnnc.ops.movement.movement import Movement, any_block, whole_blocks
from cnnc.ops.spec import Blocking, Real, Sample, attr, operator


@operator("depth_to_space")
class DepthToSpace(Movement):
    """Groups of channels become blocks of positions: [N, C b², H, W] becomes [N, C, H b, W b].

    The element at place (i, j) of its block comes from channel (i b + j) C + c with `dcr`, and
    from c b² + i b + j with `crd`, which is the pixel shuffle of sub-pixel convolution. Any number
    of spatial axes; `space_to_depth` is the reverse.
    """

    block: tuple[int, ...] = attr(Extents(), doc="extent b of a block")
    mode: str = attr(Choice(MODES), doc="whether block or channel counts first", default="dcr")

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        block = block_extents(x, self.block, self.name)
        require_multiple(x, 1, prod(block))
        spatial = (extent * b for extent, b in zip(x.spatial, block, strict=True))
        return x.with_shape((x.shape[0], x.channels // prod(block), *spatial))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = TensorType.plain(inputs[0].shape)
        out = self.infer(x)
        block = block_extents(x, self.block, self.name)
        parts, channel, within = split_channels(self.mode, out.channels, block)
        first = 1 + len(parts)
        positions = pair_axes(range(first, first + len(block)), [1 + axis for axis in within])
        split = inputs[0].reshape(x.shape[0], *parts, *x.spatial)
        return split.transpose(0, 1 + channel, *positions).reshape(out.shape)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        block = block_extents(TensorType.plain(inputs[0].shape), self.block, self.name)
        with build.grid() as (n, c, *position):
            within = [part % b for part, b in zip(position, block, strict=True)]
            where = [part // b for part, b in zip(position, block, strict=True)]
            source = join_channel(self.mode, c, build.out.shape[1], within, block)
            build.result((n, c, *position), inputs[0][(n, source, *where)])

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: with `dcr` the channels of one place are neighbours."""
        x = inputs[0]
        if self.mode == "dcr":
            return whole_blocks(lanes, x, self.infer(x).channels)
        return any_block(x)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        cases = [
            (cls((1,)), (1, 1, 1)),
            (cls((2,)), (2, 12, 3, 5)),
            (cls((2,)), (1, 128, 2, 3)),
            (cls((2,)), (1, 32, 2, 3)),
            (cls((2,), "crd"), (2, 12, 3, 5)),
            (cls((2,), "crd"), (1, 68, 2, 2)),
            (cls((3,)), (2, 6, 5)),
            (cls((2, 3), "crd"), (1, 18, 2, 3)),
            (cls((2,)), (1, 8, 2, 1, 3)),
        ]
        return tuple(Sample(op, (shape,)) for op, shape in cases)
