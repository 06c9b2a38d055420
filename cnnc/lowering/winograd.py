"""How Winograd's algorithm is scheduled."""

from cnnc.base.tiles import Tile, channels_at_once
from cnnc.loop.kernel import Kernel
from cnnc.lowering.hints import prefetch_ahead
from cnnc.lowering.loops import (
    drop_unit_loops,
    has_loop,
    jam,
    parallelise,
    sink,
    split,
    split_evenly,
    unroll,
    vectorise,
    widen,
)


def schedule_winograd(kernel: Kernel, tile: Tile, block: int, read_block: int) -> Kernel:
    """Transforms in vectors of channels, products in register tiles of channels × tiles.

    for n, ob, op parallel:  v = transform(x);
      for oq: { for wx, ot.0: acc[ot.1, oc.1] = sum of u * v;  m = acc };  y = transform(m) back
    """
    kernel = split(widen(kernel, "wi", read_block), "wi", read_block)
    kernel = vectorise(sink(kernel, "wi.1"), "wi.1")
    kernel = split(kernel, "zo", block)
    kernel = vectorise(sink(kernel, "zo.1"), "zo.1")
    kernel = split(kernel, "oc", block, "oc.1", "oc.2")
    kernel = sink(sink(kernel, "oc.1"), "oc.2")
    kernel = split_evenly(kernel, "ot", tile.columns)
    kernel = split(kernel, "ic", read_block)
    kernel = split(kernel, "ic.1", channels_at_once(tile, read_block), "ic.1", "ic.2")
    kernel = unroll(kernel, "ic.2")
    for var in ("oc.2", "oc.1", "ot.1"):
        kernel = jam(kernel, var)
    if has_loop(kernel, "ic.1"):  # few channels are summed in one straight line
        kernel = prefetch_ahead(kernel, "weight", "ic.1", ("ic.2", "oc.1"), ahead="wx", lanes=block)
    kernel = vectorise(unroll(unroll(kernel, "ot.1"), "oc.1"), "oc.2")
    return drop_unit_loops(parallelise(kernel, "n", "ob", "op"))
