"""The loops of the operator itself, in register tiles of channel blocks × rows × columns."""

from collections.abc import Iterator
from math import inf, prod

from cnnc.base.choice import Choice, Chosen
from cnnc.base.record import record
from cnnc.base.target import LINE, Target
from cnnc.base.tiles import (
    Tile,
    Work,
    choose_tile,
    cycles,
    fits,
    keeps_waiting,
    least_cycles,
    shorten,
    tiles,
)
from cnnc.ir.graph import Node
from cnnc.offers.far import L2_BYTES
from cnnc.offers.offer import Candidate, root_of
from cnnc.ops.fused import Fused
from cnnc.ops.spec import Operator

DIRECT = "direct"
_WRONG_ORDER = 1.05
"""What the order of loops that `_rows_first` does not want is estimated to cost more: it says
which is faster, not by how much."""


@record
class Form:
    """A register tile, and whether all channels of a row are computed before the next row."""

    tile: Tile
    rows_first: bool = False

    @property
    def choice(self) -> Choice:
        """The form as a choice."""
        tile = (self.tile.blocks, self.tile.rows, self.tile.columns)
        return Choice(DIRECT, (("tile", tile), *((("rows_first", ()),) * self.rows_first)))


class DirectOffer:
    """See Offer."""

    name = DIRECT
    rounds_more = False

    def candidates(self, node: Node, target: Target, *, far: bool) -> Iterator[Candidate]:
        """See Offer: every tile that fits the registers, in either order of the loops.

        Weights take as long to arrive for all of them, so that `far` makes no difference.
        """
        if not (is_tiled(node, target) and _macs(node)):
            return
        work = work_of(node, target)
        for tile in tiles(work, target):
            estimate = node.type.shape[0] * cycles(work, tile, target)
            wanted = _rows_first(node, work, tile, target)
            for rows_first in (False, True) if _has_two_orders(work, tile) else (False,):
                cost = estimate if rows_first == wanted else estimate * _WRONG_ORDER
                yield Candidate(Form(tile, rows_first).choice, cost)


OFFER = DirectOffer()


def choose_form(node: Node, target: Target, chosen: Chosen | None = None) -> Form:
    """The form of a blocked layer: what was chosen, or the one with the fewest estimated cycles.

    UserError where what was chosen is not possible.
    """
    work = work_of(node, target)
    if chosen is None:
        tile = choose_tile(work, target)
        if keeps_waiting(work.steps, target) and _ends_with_stores(node):
            tile = shorten(tile, work, target)
        return Form(tile, _rows_first(node, work, tile, target))
    form = _read(chosen.choice)
    if form is None:
        raise chosen.refuse(node.name, "it can be computed directly only")
    if why := _obstacle(form, work, target):
        raise chosen.refuse(node.name, why)
    return form


def _ends_with_stores(node: Node) -> bool:
    """Whether sums are stored as soon as they are whole.

    An elementary function takes longer than stores do, and of few vectors more than of many.
    """
    return not (isinstance(node.op, Fused) and node.op.calls_functions(node.type.dtype))


def _read(choice: Choice) -> Form | None:
    """The form that prints as this choice, or None."""
    sizes = dict(choice.sizes)
    tile = sizes.get("tile", ())
    if len(tile) != 3:
        return None
    form = Form(Tile(*tile), "rows_first" in sizes)
    return form if form.choice == choice else None


def _obstacle(form: Form, work: Work, target: Target) -> str | None:
    """Why a layer cannot have the form, or None."""
    tile = form.tile
    rows, columns = (1, 1, *work.spatial)[-2:]
    if tile.blocks > work.blocks:
        return f"the result has {work.blocks} blocks of channels"
    if rows % tile.rows or tile.columns > columns:
        return f"the result has {rows} rows of {columns} columns"
    if not fits(tile, work, target) and tile.vectors > 1:
        return f"the tile does not fit {target.vector_registers} registers"
    if form.rows_first and not _has_two_orders(work, tile):
        return "its rows cannot come first"
    return None


def _has_two_orders(work: Work, tile: Tile) -> bool:
    return not work.per_channel and len(work.spatial) in (1, 2) and work.blocks != tile.blocks


def _rows_first(node: Node, work: Work, tile: Tile, target: Target) -> bool:
    """Whether to compute all channels of a row before the next row.

    Otherwise the whole input is read once for every tile of channels: a loss where it does not
    stay in the second-level cache beside what is written, and the weights would. Of a series they
    are read again for each tile rather than for each row, so that fewer of them pay.
    """
    if not _has_two_orders(work, tile):
        return False
    half = target.l2_bytes // 2
    most = half if len(work.spatial) == 2 else half // 4
    return weight_bytes(node) <= most and half < node.inputs[0].type.bytes + node.type.bytes


def direct_cycles(node: Node, target: Target) -> float:
    """Estimated cycles of a blocked layer that waits for no memory."""
    return node.type.shape[0] * least_cycles(work_of(node, target), target)


def weight_bytes(node: Node) -> int:
    """Bytes of a layer's constants."""
    return sum(o.type.bytes for o in node.inputs[1:] if o.is_constant)


def blocks_of(node: Node) -> tuple[int, int]:
    """Channels kept together in the result, and in the first operand."""
    kinds = (node.type, node.inputs[0].type)
    block, read_block = (kind.layout.block(1) if kind.rank > 1 else 1 for kind in kinds)
    return block, read_block


def is_tiled(node: Node, target: Target) -> bool:
    """Whether a layer is computed in register tiles of channels × positions.

    Its channels are blocked, or each is a block of its own, where the target computes one number
    at a time and the layer's weights can be packed for several channels.
    """
    if blocks_of(node)[0] > 1:
        return True
    if target.lanes(node.type.dtype) > 1 or node.type.rank < 2 or not _macs(node):
        return False
    root, operands = root_of(node)
    layouts = root.packing(1, 2, *(operand.type for operand in operands))
    return any(layout.blocks for layout in layouts)


def _macs(node: Node) -> int:
    op = node.op
    assert isinstance(op, Operator)
    return op.macs(node.type, *(operand.type for operand in node.inputs))


def work_of(node: Node, target: Target) -> Work:
    """What the tile search needs to know of a blocked layer."""
    op, out = node.op, node.type
    assert isinstance(op, Operator)
    kinds = [operand.type for operand in node.inputs]
    block, read_block = blocks_of(node)
    macs, nest = _macs(node), op.nest(out, *kinds)
    steps = max(1, macs // max(1, out.elements))
    if not macs:
        steps = max(1, round(kinds[0].elements / max(1, out.elements)))
    reads_once = nest.one_tap and not nest.strided and not nest.per_channel and read_block > 1
    blocks, spatial = -(-out.channels // block), nest.spatial
    if nest.groups > 1 and not nest.per_channel:
        blocks = max(1, out.channels // nest.groups // block)
        spatial = (nest.groups, *spatial)
    return Work(
        blocks,
        spatial,
        steps,
        nest.per_channel,
        read_block,
        nest.strided,
        nest.taps,
        nest.own_weights,
        nest.temporaries,
        max(1, nest.phases),
        near=inf if prod(out.spatial) == 1 else target.l1_bytes // (block * out.dtype.bytes),
        arrival=block * out.dtype.bytes / L2_BYTES,
        in_line=positions_in_line(node, read_block) if reads_once else 1,
        beside=kinds[0].layout.halo_of(kinds[0].rank - 1) if reads_once else (0, 0),
        half=_is_half_empty(node, block, target)
        and not (nest.groups > 1 or nest.per_channel or nest.phases),
    )


def positions_in_line(node: Node, read_block: int) -> int:
    """Positions whose blocks of input channels one line of memory holds."""
    return max(1, LINE // (read_block * node.inputs[0].type.dtype.bytes))


def _is_half_empty(node: Node, block: int, target: Target) -> bool:
    """Whether half a vector holds the channels of the last block, and takes half the time."""
    is_vector = block == target.lanes(node.type.dtype) and target.halves_vectors
    channels = node.type.channels
    return is_vector and channels > block and 0 < channels % block <= block // 2
