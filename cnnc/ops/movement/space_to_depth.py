"""Positions become channels."""

from collections.abc import Sequence
from math import prod

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.attributes import Choice, Extents
from cnnc.ops.movement.blocks import (
    MODES,
    block_extents,
    pair_axes,
    part_channel,
    require_multiple,
)
from cnnc.ops.movement.movement import Movement, any_block, whole_blocks
from cnnc.ops.spec import Blocking, Real, Sample, attr, operator


@operator("space_to_depth")
class SpaceToDepth(Movement):
    """Blocks of positions become groups of channels: [N, C, H b, W b] becomes [N, C b², H, W].

    The element at place (i, j) of its block goes to channel (i b + j) C + c with `dcr`, and to
    c b² + i b + j with `crd`. Any number of spatial axes; `depth_to_space` is the reverse.
    """

    block: tuple[int, ...] = attr(Extents(), doc="extent b of a block")
    mode: str = attr(Choice(MODES), doc="whether block or channel counts first", default="dcr")

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        block = block_extents(x, self.block, self.name)
        for axis, b in enumerate(block, start=2):
            require_multiple(x, axis, b)
        spatial = (extent // b for extent, b in zip(x.spatial, block, strict=True))
        return x.with_shape((x.shape[0], x.channels * prod(block), *spatial))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = TensorType.plain(inputs[0].shape)
        out = self.infer(x)
        block = block_extents(x, self.block, self.name)
        rank = len(block)
        split = inputs[0].reshape(*x.shape[:2], *pair_axes(out.spatial, block))
        positions, within = range(2, 2 + 2 * rank, 2), range(3, 3 + 2 * rank, 2)
        channels = (*within, 1) if self.mode == "dcr" else (1, *within)
        return split.transpose(0, *channels, *positions).reshape(out.shape)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x = inputs[0]
        block = block_extents(TensorType.plain(x.shape), self.block, self.name)
        with build.grid() as (n, c, *position):
            source, within = part_channel(self.mode, c, x.shape[1], block)
            where = [o * b + i for o, b, i in zip(position, block, within, strict=True)]
            build.result((n, c, *position), x[(n, source, *where)])

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: with `dcr` the channels of one place stay neighbours."""
        x = inputs[0]
        if self.mode == "dcr":
            return whole_blocks(lanes, x, x.channels)
        return any_block(x)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        cases = [
            (cls((1,)), (1, 1, 1)),
            (cls((2,)), (2, 3, 6, 10)),
            (cls((2,)), (1, 32, 4, 6)),
            (cls((2,)), (1, 17, 2, 4)),
            (cls((2,), "crd"), (2, 3, 6, 10)),
            (cls((2,), "crd"), (1, 17, 4, 2)),
            (cls((3,)), (2, 2, 15)),
            (cls((2, 3), "crd"), (1, 3, 4, 9)),
            (cls((2,)), (1, 1, 4, 2, 6)),
        ]
        return tuple(Sample(op, (shape,)) for op, shape in cases)
