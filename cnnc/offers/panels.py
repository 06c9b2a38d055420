"""Layers whose weights are taken in panels, and bands of their rows for cores that are idle."""

from collections.abc import Sequence
from math import prod

from cnnc.base.target import Target
from cnnc.base.tiles import Tile, even_pieces
from cnnc.ir.graph import Node
from cnnc.offers.direct import Form, blocks_of
from cnnc.offers.far import L2_BYTES
from cnnc.offers.offer import root_of
from cnnc.offers.shares import longest_share
from cnnc.ops.conv import Conv

_GAIN = 1.05
"""How much sooner cores must be done by the estimate: bands of two lengths are twice the code."""


def panel_size(node: Node, form: Form, target: Target) -> int:
    """Blocks of input channels whose weights stay in the first-level cache for all positions.

    0 where all weights of a tile of channels do, or there are few positions to use them for, or so
    many that their sums would not stay there too.
    """
    root, operands = root_of(node)
    tile, spatial = form.tile, node.type.spatial
    if not isinstance(root, Conv) or root.groups > 1 or len(spatial) != 2 or form.rows_first:
        return 0
    x, (block, read_block) = operands[0].type, blocks_of(node)
    taps, blocks = prod(root.window(x).kernel), x.channels // read_block
    each = read_block * taps * tile.blocks * block * x.dtype.bytes
    sums = prod(spatial) * tile.blocks * block * x.dtype.bytes
    uses = prod(spatial) // (tile.rows * tile.columns)
    whole = x.channels % read_block == 0
    if read_block == 1 or not whole or uses < 3 or sums > target.l1_bytes // 3:
        return 0
    if blocks == 1 or blocks * each <= target.l1_bytes:
        return 0
    sizes = [size for size in range(1, blocks) if blocks % size == 0]
    near = [size for size in sizes if size * each <= target.l1_bytes // 2]
    return (near or sizes[:1])[-1]


def joins_columns(node: Node, tile: Tile, target: Target, *, in_one_row: bool) -> bool:
    """Whether a layer in panels without bands takes columns of two lengths within the same panels.

    Each panel comes from memory once then, not once for each length. Apart, they are twice as many
    tasks, which cores may share more evenly.
    """
    lines = _lines(node, tile, in_one_row=in_one_row)
    tasks, arrival = _tasks(node, tile), _arrival(node, target)
    positions = sum(count * length for count, length in lines)
    joined = longest_share([(tasks, positions + arrival)], target.cores)
    apart = _nests(lines, tasks, max(count for count, _ in lines), arrival)
    return joined <= longest_share(apart, target.cores) * _GAIN


def band_size(node: Node, tile: Tile, target: Target, *, in_one_row: bool) -> int:
    """Rows of tiles in a band, if a layer in panels is cut into bands that cores share; 0 if not.

    It is where there are too few tiles of channels for all cores to be busy to the end; blocks that
    are left over by these are not counted. Every band reads the weights. Of positions that are one
    row, every tile counts as a row.
    """
    lines = _lines(node, tile, in_one_row=in_one_row)
    tasks, arrival = _tasks(node, tile), _arrival(node, target)

    def span(size: int) -> float:
        return longest_share(_nests(lines, tasks, size, arrival), target.cores)

    most = max(count for count, _ in lines)
    sizes = sorted({-(-most // bands) for bands in range(1, min(target.cores, most) + 1)})
    best = min(reversed(sizes), key=span)
    return best if span(best) * _GAIN <= span(most) else 0


def _tasks(node: Node, tile: Tile) -> int:
    """Tiles of channels of all samples, but those of blocks that are left over."""
    block, _ = blocks_of(node)
    return node.type.shape[0] * (-(-node.type.channels // block) // tile.blocks)


def _lines(node: Node, tile: Tile, *, in_one_row: bool) -> list[tuple[int, int]]:
    """Rows of tiles and the positions of each, for every length of columns."""
    rows, columns = node.type.spatial
    if in_one_row:
        return [(count, length) for length, count in even_pieces(rows * columns, tile.columns)]
    pieces = even_pieces(columns, tile.columns)
    return [(rows // tile.rows, tile.rows * length * count) for length, count in pieces]


def _arrival(node: Node, target: Target) -> float:
    """Positions computed while the weights of a tile arrive from the second-level cache.

    The multiply-adds of each in a cycle, beside the bytes of a vector of weights.
    """
    block, _ = blocks_of(node)
    return target.vector_units * block * node.type.dtype.bytes / L2_BYTES


def _nests(
    lines: Sequence[tuple[int, int]], tasks: int, size: int, arrival: float
) -> list[tuple[int, float]]:
    """Tasks and their cost, for each nest that bands of a size make of lines of so many positions.

    `lines` are those nests would have without bands.
    """
    return [
        (tasks * bands, length * positions + arrival)
        for count, positions in lines
        for length, bands in even_pieces(count, size)
    ]
