"""Channels that become positions, and back: what both directions share."""

from collections.abc import Sequence
from itertools import chain
from math import prod

from cnnc.base.layout import Shape
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.expr import Const, Expr
from cnnc.ops.attributes import spread
from cnnc.ops.movement.movement import require_spatial

MODES = ("dcr", "crd")


def block_extents(x: TensorType, block: tuple[int, ...], name: str) -> Shape:
    """The block's extents, one per spatial axis; OpError where the operand has none."""
    require_spatial(x, name)
    return spread(block, len(x.spatial), "block")


def require_multiple(x: TensorType, axis: int, divisor: int) -> None:
    """OpError at `block` unless the extent of the axis is a multiple."""
    extent = x.shape[axis]
    if extent % divisor:
        what = "channels" if axis == 1 else f"elements along axis {axis}"
        raise OpError(
            f"{extent} {what} do not make blocks of {divisor}",
            at="block",
            note=f"{extent} = {extent // divisor} × {divisor} + {extent % divisor}",
        )


def split_channels(mode: str, channels: int, block: Shape) -> tuple[Shape, int, list[int]]:
    """The channel axis as several: their extents, where channels stand, where the block's axes."""
    rank = len(block)
    if mode == "dcr":
        return (*block, channels), rank, list(range(rank))
    return (channels, *block), 0, list(range(1, rank + 1))


def pair_axes(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """The axes of two lists in turn."""
    return list(chain.from_iterable(zip(first, second, strict=True)))


def join_channel(
    mode: str, channel: Expr, channels: int, within: Sequence[Expr], block: Shape
) -> Expr:
    """The channel that holds `channel` of so many at a place within the block."""
    place: Expr = Const(0)
    for part, extent in zip(within, block, strict=True):
        place = place * extent + part
    return place * channels + channel if mode == "dcr" else channel * prod(block) + place


def part_channel(mode: str, joined: Expr, channels: int, block: Shape) -> tuple[Expr, list[Expr]]:
    """The reverse of `join_channel`: the channel, and the place within the block."""
    size = prod(block)
    if mode == "dcr":
        channel, place = joined % channels, joined // channels
    else:
        channel, place = joined // size, joined % size
    within = []
    for axis, extent in enumerate(block):
        whole = place // prod(block[axis + 1 :])
        within.append(whole % extent if axis else whole)
    return channel, within
