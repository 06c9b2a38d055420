"""Channels in blocks, moved to other lanes: those of an operand from any of its channels on."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from cnnc.base.record import record
from cnnc.loop.build import KernelBuilder, grid_names, maximum, minimum
from cnnc.loop.expr import Const, Expr, compare, select

Element = Callable[[Expr, Expr, Sequence[Expr]], Expr]
"""An element of an operand: of a sample, channel and position."""


@record
class Source:
    """An operand whose channels, so many, are those of the result from `start` on.

    Where the result has only some of them, they begin before it, and end behind it.
    """

    start: int
    channels: int
    element: Element

    @property
    def end(self) -> int:
        """The channel of the result behind the last one."""
        return self.start + self.channels


def permute_blocks(build: KernelBuilder, sources: Sequence[Source]) -> None:
    """A nest for the blocks of each operand alone, and one for each block that several share.

    There, and in a last block that is not filled, no channel is read that the operand does not
    have, as whole vectors may end behind it.
    """
    samples, channels, *spatial = build.out.shape
    block = build.out.layout.block(1)
    for first, end, here in _runs(block, channels, sources):
        extents = (samples, min(end, channels) - first, *spatial)
        with build.loops(grid_names(len(extents)), extents) as (n, c, *position):
            value: Expr | None = None
            for source in reversed(here):
                channel = c + (first - source.start)
                if len(here) > 1 or end > channels:
                    channel = minimum(maximum(channel, 0), source.channels - 1)
                element = source.element(n, channel, position)
                is_here = compare("lt", c, Const(source.end - first))
                value = element if value is None else select(is_here, element, value)
            assert value is not None
            build.result((n, c + first, *position), value)


def _runs(
    block: int, channels: int, sources: Sequence[Source]
) -> Iterator[tuple[int, int, list[Source]]]:
    """First channel and end of blocks side by side that come from the same operand alone.

    Others, and a last one that is not filled, stand alone.
    """

    def key(first: int) -> tuple[list[int], int]:
        here = [k for k, s in enumerate(sources) if s.start < first + block and first < s.end]
        return here, first if len(here) > 1 or first + block > channels else -1

    for (here, _), found in groupby(range(0, channels, block), key):
        blocks = list(found)
        yield blocks[0], blocks[-1] + block, [sources[k] for k in here]
