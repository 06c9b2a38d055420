"""Channels of groups in turns; made by the compiler, not part of the language."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnc.base.layout import channel_block
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, grid_names
from cnnc.loop.expr import Buffer, Const, Expr, compare, select
from cnnc.ops.movement.movement import Movement, round_up
from cnnc.ops.spec import PLAIN, Blocking, Real, Sample


@dataclass(frozen=True)
class ChannelShuffle(Movement):
    """Channel c of the result is channel c' // groups of group c' % groups, where c' = begin + c.

    As in ShuffleNet: Zhang, Zhou, Lin and Sun, "ShuffleNet: An Extremely Efficient Convolutional
    Neural Network for Mobile Devices" (CVPR 2018), arXiv:1707.01083. The groups are the operands,
    or runs of channels of the only one. `channels` is how many channels the result has.
    """

    groups: int
    begin: int
    channels: int

    name = "channel_shuffle"

    @property
    def label(self) -> str:
        """See Operator."""
        return (
            f"channel_shuffle(groups={self.groups}, begin={self.begin}, channels={self.channels})"
        )

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        return x.with_shape((x.shape[0], self.channels, *x.spatial))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = np.concatenate(inputs, axis=1)
        taken = np.arange(x.shape[1]).reshape(self.groups, -1).T.reshape(-1)
        return x[:, taken[self.begin : self.begin + self.channels]]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, so errors move along."""
        return self.reference(*errors)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: in blocks all channels in their order, in rows a nest for each group."""
        samples, _, *spatial = build.out.shape
        if build.out.layout.block(1) > 1:
            with build.grid() as (n, c, *position):
                group, channel = (c + self.begin) % self.groups, (c + self.begin) // self.groups
                build.result((n, c, *position), self._of(inputs, group, (n, channel, *position)))
            return
        for first in range(min(self.groups, self.channels)):
            before, turn = divmod(first + self.begin, self.groups)
            count = len(range(first, self.channels, self.groups))
            names = grid_names(len(build.out.shape))
            with build.loops(names, (samples, count, *spatial)) as (n, i, *position):
                value = self._of(inputs, Const(turn), (n, i + before, *position))
                build.result((n, i * self.groups + first, *position), value)

    def _of(self, inputs: Sequence[Buffer], group: Expr, index: tuple[Expr, ...]) -> Expr:
        """An element of a group, whose channels count from 0."""
        if len(inputs) == 1:
            n, channel, *position = index
            per_group = inputs[0].shape[1] // self.groups
            return inputs[0][(n, group * per_group + channel, *position)]
        value: Expr = inputs[-1][index]
        for turn in reversed(range(self.groups - 1)):
            value = select(compare("eq", group, Const(turn)), inputs[turn][index], value)
        return value

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: in blocks where half of the channels lie in blocks already.

        Not of fewer channels than lanes, nor where lanes that are filled up would read behind the
        end of an operand.
        """
        there = sum(x.channels for x in inputs if x.layout.block(1) == lanes)
        if 2 * there < sum(x.channels for x in inputs) or not self.permuted_vectors(lanes, *inputs):
            return PLAIN
        return Blocking((lanes,), lanes)

    def permuted_vectors(self, lanes: int, *inputs: TensorType) -> int:
        """See Operator: as many as there are groups; 0, too, where it cannot be done in blocks."""
        narrow = any(channel_block(x.channels, lanes) < lanes for x in inputs)
        if lanes == 1 or narrow:
            return 0
        last = (self.begin + round_up(self.channels, lanes) - 1) // self.groups
        if len(inputs) == 1:
            last += inputs[0].channels // self.groups * (self.groups - 1)
        return self.groups if last < round_up(inputs[0].channels, lanes) else 0

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """It has no name in the language: see tests/ops/test_channel_shuffle.py."""
        return ()
