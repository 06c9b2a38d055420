"""Layers whose positions may be one row, so that tiles need not end where rows of a map do."""

from math import prod

from cnnc.base.layout import Shape
from cnnc.base.tiles import Tile, Work, even_pieces
from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType
from cnnc.offers.offer import root_of
from cnnc.ops.spec import Operator

_GAIN = 1.05
"""How many times fewer tiles one row must have: each reads all weights, and waits at its end."""


def pays_in_one_row(node: Node, work: Work, tile: Tile) -> bool:
    """Whether a layer takes clearly fewer tiles with all positions in one row.

    It does where rows leave columns over, as thirteen do for tiles of four.
    """
    if tile.rows > 1 or work.spatial != node.type.spatial or not may_be_one_row(node):
        return False
    rows, columns = prod(work.spatial[:-1]), work.spatial[-1]
    return rows * _count(columns, tile) >= _GAIN * _count(rows * columns, tile)


def _count(columns: int, tile: Tile) -> int:
    return sum(count for _, count in even_pieces(columns, tile.columns))


def may_be_one_row(node: Node) -> bool:
    """Whether each result reads the operands' elements at its own position, as 1×1 convolutions do.

    And in memory the next row has to begin where one ends: there is no halo.
    """
    op, out, kinds = node.op, node.type, [operand.type for operand in node.inputs]
    assert isinstance(op, Operator)
    nest, spatial = op.nest(out, *kinds), out.spatial
    if len(spatial) < 2 or nest.per_channel or nest.phases:
        return False
    if not nest.one_tap or nest.strided or kinds[0].spatial != spatial:
        return False
    own = len(root_of(node)[1])
    return all(_is_one_row(kind, spatial) for kind in (out, kinds[0], *kinds[own:]))


def _is_one_row(kind: TensorType, spatial: Shape) -> bool:
    """Whether positions lie one behind the other, or all have the same element."""
    if kind.spatial != spatial and set(kind.shape[-len(spatial) :]) <= {1}:
        return True
    layout, axes = kind.layout, tuple(range(len(spatial) + 2))
    blocks_channels = all(axis == 1 for axis, _ in layout.blocks)
    return kind.spatial == spatial and layout.order == axes and blocks_channels and not layout.halo
