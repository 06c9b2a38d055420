"""Where pools find their elements: the second result of `MaxPool`, counted anew where need be."""

from collections.abc import Sequence
from math import inf, prod

import numpy as np

from cnnc.base.layout import Shape
from cnnc.ir.graph import Node
from cnnc.onnx.emit.pools import is_plain, padded, reaching, unpadded
from cnnc.onnx.emit.windows import window_attributes
from cnnc.onnx.emit.writer import Writer, emit, operand_type
from cnnc.ops.pool_argmax import PoolArgMax


@emit.register
def _pool_argmax(op: PoolArgMax, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    x, kind = inputs[0], operand_type(node)
    window = op.window(kind)
    columns = op.order == "column_major"
    if is_plain(window, kind.spatial, ceil=op.ceil):
        given = {"ceil_mode": int(op.ceil), "storage_order": int(columns)}
        count = writer.add_second("MaxPool", x, **window_attributes(window), **given)
        if op.whole:
            return count
        return writer.add("Mod", count, writer.integers([prod(kind.spatial)]))
    bare = padded(window, kind.spatial, x, -inf, writer)
    count = writer.add_second("MaxPool", bare, **window_attributes(unpadded(window)))
    ends = reaching(window, kind.spatial).pads
    wide = [n + sum(end) for n, end in zip(kind.spatial, ends, strict=True)]
    places = _unravelled(count, wide, writer)
    moved = [
        writer.add("Sub", place, writer.integers([end[0]])) if end[0] else place
        for place, end in zip(places, ends, strict=True)
    ]
    pairs = list(zip(moved, kind.spatial, strict=True))
    return _ravelled(pairs[::-1] if columns else pairs, kind.shape if op.whole else (), writer)


def _unravelled(count: str, spatial: Sequence[int], writer: Writer) -> list[str]:
    """Positions along the axes from a row-major count."""
    found = []
    for axis, extent in enumerate(spatial):
        inner = prod(spatial[axis + 1 :])
        above = writer.add("Div", count, writer.integers([inner])) if inner > 1 else count
        found.append(writer.add("Mod", above, writer.integers([extent])))
    return found


def _ravelled(places: Sequence[tuple[str, int]], whole: Shape, writer: Writer) -> str:
    """A count from positions along axes of these extents, the last of which runs fastest."""
    total, _ = places[0]
    for place, extent in places[1:]:
        total = writer.add("Add", writer.add("Mul", total, writer.integers([extent])), place)
    if not whole:
        return total
    before = np.arange(prod(whole[:2])) * prod(whole[2:])
    shape = (*whole[:2], *(1,) * len(whole[2:]))
    return writer.add("Add", total, writer.constant(before.reshape(shape), np.int64))
