"""Layers whose positions may be one row, so that tiles need not end where rows of a map do."""

from dataclasses import replace
from math import prod

from cnnc.base.tiles import Tile, Work, cycles
from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType
from cnnc.offers.offer import root_of
from cnnc.ops.spec import Operator


def in_one_row(node: Node, work: Work) -> Work | None:
    """The work of a layer with all positions in one row; None where they cannot be.

    Each result reads the operands' elements at its own position, as in a 1×1 convolution, and in
    memory the next row begins where one ends: there is no halo.
    """
    op, out, kinds = node.op, node.type, [operand.type for operand in node.inputs]
    assert isinstance(op, Operator)
    nest, spatial = op.nest(out, *kinds), out.spatial
    if len(spatial) < 2 or work.spatial != spatial or nest.per_channel or nest.phases:
        return None
    if not nest.one_tap or nest.strided or kinds[0].spatial != spatial:
        return None
    own = len(root_of(node)[1])
    tensors = [out, kinds[0], *kinds[own:]]
    if not all(_is_one_row(kind, spatial) for kind in tensors):
        return None
    return replace(work, spatial=(prod(spatial),))


def row_cycles(work: Work, row: Work | None, tile: Tile) -> float:
    """Estimated cycles of a tile, with all positions in one `row` where they may be and it pays."""
    if row is None or tile.rows > 1:
        return cycles(work, tile)
    return min(cycles(work, tile), cycles(row, tile))


def pays(node: Node, work: Work, tile: Tile) -> bool:
    """Whether a tile is estimated to take less time with all positions in one row."""
    return row_cycles(work, in_one_row(node, work), tile) < cycles(work, tile)


def _is_one_row(kind: TensorType, spatial: tuple[int, ...]) -> bool:
    """Whether positions lie one behind the other, or all have the same element."""
    if set(kind.shape[-len(spatial) :]) <= {1}:
        return True
    layout, axes = kind.layout, tuple(range(len(spatial) + 2))
    blocks_channels = all(axis == 1 for axis, _ in layout.blocks)
    return kind.spatial == spatial and layout.order == axes and blocks_channels and not layout.halo
