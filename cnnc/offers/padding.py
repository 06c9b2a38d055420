"""Where the zeros around an operand lie: in memory for all of it, or for one channel at a time."""

from math import prod

from cnnc.base.target import Target
from cnnc.ir.graph import Node
from cnnc.offers.direct import choose_form, is_tiled
from cnnc.ops.spec import Operator

Halo = tuple[tuple[int, int], ...]


def halo_in_memory(node: Node, target: Target) -> Halo:
    """The zeros that must lie around operand 0 of a layer; () where it puts them there itself."""
    return () if pads_channels(node, target) else _halo(node)


def pads_channels(node: Node, target: Target) -> bool:
    """Whether a layer copies each channel to scratch memory, where zeros are around it.

    Where memory is small, numbers are computed one by one, and each channel is read for itself:
    the zeros around all channels would take more memory than those of a tile with theirs.
    """
    op, out = node.op, node.type
    if not target.is_small or target.lanes(out.dtype) > 1 or not isinstance(op, Operator):
        return False
    halo, kinds = _halo(node), [operand.type for operand in node.inputs]
    if not any(map(any, halo)) or not op.nest(out, *kinds).per_channel:
        return False
    x = kinds[0]
    padded = prod(low + extent + high for extent, (low, high) in zip(x.shape, halo, strict=True))
    together = choose_form(node, target).tile.blocks if is_tiled(node, target) else 1
    scratch = together * padded // (x.shape[0] * x.channels)
    return scratch < padded - x.elements


def lacks_halo(node: Node) -> bool:
    """Whether there are fewer zeros around operand 0 of a layer than its loops read."""
    layout, halo = node.inputs[0].type.layout, _halo(node)
    return any(
        have < need
        for axis, ends in enumerate(halo)
        for have, need in zip(layout.halo_of(axis), ends, strict=True)
    )


def _halo(node: Node) -> Halo:
    assert isinstance(node.op, Operator)
    return node.op.halo(*(operand.type for operand in node.inputs))
