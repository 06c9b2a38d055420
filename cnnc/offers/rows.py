"""Convolutions whose vectors hold neighbouring positions of one channel, not channels of one place.

Blocks of channels leave lanes empty where channels are no multiple of them: of 25 channels in two
vectors of 16, 22 %. A tensor in rows has none empty but at the ends of its rows. Groups of fewer
channels than a vector has lanes, or of no multiple of these, lie in rows anyway.
"""

from collections.abc import Iterator
from math import prod

from cnnc.base.choice import Choice, Chosen
from cnnc.base.target import LINE, Target
from cnnc.base.tiles import Tile, Work, choose_tile, cycles, fits, least_cycles, tiles
from cnnc.ir.graph import Node
from cnnc.offers.offer import Candidate, root_of
from cnnc.offers.one_row import may_be_one_row
from cnnc.ops.conv import Conv
from cnnc.ops.groups import is_depthwise
from cnnc.ops.spec import Operator

ROWS = "rows"
_NEAR = 2
"""The largest stride of elements that are loaded as vectors."""


class RowsOffer:
    """See Offer."""

    name = ROWS
    rounds_more = False

    def candidates(self, node: Node, target: Target, *, far: bool) -> Iterator[Candidate]:
        """See Offer: every tile of vectors × channels that fits the registers.

        Nothing for a layer that lies in blocks: rows are a layout that neighbours should share, so
        that no layer alone can choose it.
        """
        if lies_in_rows(node, target):
            work = rows_work(node, target)
            for tile in tiles(work, target):
                yield Candidate(choice_of(tile), node.type.shape[0] * cycles(work, tile, target))


OFFER = RowsOffer()


def may_lie_in_rows(node: Node, target: Target) -> bool:
    """Whether a layer can be computed with neighbouring positions in the lanes of vectors."""
    root, (x, *_) = root_of(node)
    if not isinstance(root, Conv) or node.type.channels == 1:
        return False
    alone = is_depthwise(x.type, root.channels, root.groups)
    return target.lanes(node.type.dtype) > 1 and not alone


def lies_in_rows(node: Node, target: Target) -> bool:
    """Whether a layer whose layouts are assigned is computed so."""
    return may_lie_in_rows(node, target) and node.type.layout.block(1) == 1


def rows_work(node: Node, target: Target) -> Work:
    """What the tile search needs to know: blocks are vectors of positions, columns channels."""
    op, out, kinds = node.op, node.type, [operand.type for operand in node.inputs]
    assert isinstance(op, Operator)
    length, nest = _row_length(node), op.nest(out, *kinds)
    vectors, rest = divmod(length, target.lanes(out.dtype))
    *more, rows = (1, *out.spatial[:-1]) if length == out.spatial[-1] else (1,)
    return Work(
        max(1, vectors),
        (rows, out.channels // nest.groups),
        op.macs(out, *kinds) // out.elements,
        per_channel=False,
        phases=nest.groups * prod(more),
        in_rows=True,
        lines=_loads(node, target),
        apart=int(vectors > 0 and rest > 0),
    )


def rows_cycles(node: Node, target: Target) -> float:
    """Estimated cycles of a layer in rows."""
    return node.type.shape[0] * least_cycles(rows_work(node, target), target)


def fills_more(node: Node, target: Target) -> bool:
    """Whether fewer lanes are empty with positions in them than with channels."""
    channels, lanes = node.type.channels, target.lanes(node.type.dtype)
    positions = _row_length(node)
    vectors, blocks = -(-positions // lanes), -(-channels // lanes)
    return positions * blocks > channels * vectors


def _loads(node: Node, target: Target) -> float:
    """Lines that a vector of the input is loaded from; of a stride of two, one after the other.

    Elements farther apart are loaded one by one.
    """
    root, (x, *_) = root_of(node)
    assert isinstance(root, Conv)
    stride = root.window(x.type).stride[-1]
    if stride > _NEAR:
        return float(target.lanes(node.type.dtype))
    return stride * (1 + (target.vector_bits // 8 - x.type.dtype.bytes) / LINE)


def _row_length(node: Node) -> int:
    """Neighbouring positions of a channel, as many as vectors may run through."""
    spatial = node.type.spatial
    return prod(spatial) if may_be_one_row(node) else spatial[-1]


def choose_rows(node: Node, target: Target, chosen: Chosen | None = None) -> Tile:
    """The tile of a layer in rows: what was chosen, or the one with the fewest estimated cycles.

    UserError where what was chosen is not possible.
    """
    work = rows_work(node, target)
    if chosen is None:
        return choose_tile(work, target)
    sizes = dict(chosen.choice.sizes).get("tile", ())
    tile = Tile(*sizes) if len(sizes) == 3 else None
    if tile is None or choice_of(tile) != chosen.choice:
        raise chosen.refuse(node.name, "it can be computed in rows only, as `rows tile=2x1x9`")
    if why := _obstacle(tile, work, target):
        raise chosen.refuse(node.name, why)
    return tile


def _obstacle(tile: Tile, work: Work, target: Target) -> str | None:
    """Why a layer cannot have the tile, or None."""
    rows, channels = work.spatial
    if tile.blocks > work.blocks or tile.columns > channels or rows % tile.rows:
        return f"the result has {rows} rows of {work.blocks} vectors, in {channels} channels"
    if tile.vectors > 1 and not fits(tile, work, target):
        return f"the tile does not fit {target.vector_registers} registers"
    return None


def choice_of(tile: Tile) -> Choice:
    """The tile as a choice: vectors × rows × channels."""
    return Choice(ROWS, (("tile", (tile.blocks, tile.rows, tile.columns)),))
