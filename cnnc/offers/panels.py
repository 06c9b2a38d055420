"""Layers whose weights are taken in panels, and how cores share them."""

from collections.abc import Sequence
from math import prod

from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.base.tiles import Tile, even_pieces
from cnnc.ir.graph import Node
from cnnc.offers.direct import Form, blocks_of
from cnnc.offers.far import L2_BYTES
from cnnc.offers.offer import root_of
from cnnc.offers.shares import longest_share
from cnnc.ops.conv import Conv

_GAIN = 1.05
"""How much sooner cores must be done by the estimate: more nests are more code, and each reads all
weights."""


@record
class Panels:
    """So many `blocks` of input channels make a panel; 0 where the weights are not taken in panels.

    With a `band`, so many rows of tiles are a task, otherwise all are. Where columns are of several
    lengths, all are computed within the same panels if these are `joined`; otherwise each length is
    a nest of its own, as with bands. With `rest_joined`, that is said of channels that are left
    over by the tiles, too.
    """

    blocks: int = 0
    band: int = 0
    joined: bool = False
    rest_joined: bool = False


def panels_of(
    node: Node, form: Form, target: Target, *, in_one_row: bool, rows_apart: bool
) -> Panels:
    """How a tiled layer takes its weights. Where `rows_apart`, one thread computes it.

    Columns are joined unless cores are done sooner with more tasks: there may be too few tiles of
    channels for all of them to be busy to the end. Of positions that are one row, every tile counts
    as a row.
    """
    blocks, tile = _panel_size(node, form, target), form.tile
    if not blocks:
        return Panels()
    lines = _lines(node, tile, in_one_row=in_one_row)
    several = len(lines) > 1
    if rows_apart:
        return Panels(blocks, joined=several, rest_joined=several)
    tasks, arrival = _tasks(node, tile), _arrival(node, target)

    def span(size: int) -> float:
        """Of the tiles of channels, without blocks that are left over."""
        return longest_share(_nests(lines, tasks, size, arrival), target.cores)

    most = max(count for count, _ in lines)
    sizes = {-(-most // bands) for bands in range(1, min(target.cores, most) + 1)}
    best = min(sorted(sizes, reverse=True), key=span)
    if span(most) <= span(best) * _GAIN:
        best = most
    whole = (tasks, sum(count * length for count, length in lines) + arrival)
    if longest_share([whole], target.cores) > span(best) * _GAIN:
        return Panels(blocks, band=best if best < most else 0)
    one, by_rows = ([whole, *nests] for nests in _rest(node, tile, lines, arrival))
    rest = longest_share(one, target.cores) <= longest_share(by_rows, target.cores) * _GAIN
    return Panels(blocks, joined=several, rest_joined=several and rest)


def _panel_size(node: Node, form: Form, target: Target) -> int:
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


def _tasks(node: Node, tile: Tile) -> int:
    """Tiles of channels of all samples, but those of blocks that are left over."""
    block, _ = blocks_of(node)
    return node.type.shape[0] * (-(-node.type.channels // block) // tile.blocks)


def _rest(
    node: Node, tile: Tile, lines: Sequence[tuple[int, int]], arrival: float
) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Tasks and their cost of the blocks that are left over: of a sample one, or its rows of tiles.

    The cost is counted in positions of a whole tile.
    """
    block, _ = blocks_of(node)
    part = -(-node.type.channels // block) % tile.blocks / tile.blocks
    samples = node.type.shape[0]
    positions = sum(count * length for count, length in lines)
    by_rows = [(samples * count, part * (length + arrival)) for count, length in lines]
    return [(samples, part * (positions + arrival))], by_rows


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
