"""How Strassen's algorithm is scheduled."""

from cnnc.base.tiles import Tile, channels_at_once, channels_in_short_line
from cnnc.loop.kernel import Kernel
from cnnc.lowering.hints import prefetch_ahead, prefetch_next, prefetch_operands
from cnnc.lowering.loops import (
    drop_unit_loops,
    has_loop,
    jam,
    parallelise,
    sink,
    split,
    unroll,
    vectorise,
)


def schedule_strassen(
    kernel: Kernel,
    tile: Tile,
    read_block: int,
    *,
    far_weights: bool,
    late: tuple[str, ...],
    by_lane: bool,
) -> Kernel:
    """Sums in vectors of channels, products in register tiles of channels × rows × columns.

    for n, ob, op parallel:  v = sums of x;
      for oq: { for og, ow: acc[oh, ot, oc.1] = sum of w * x or v;  … } three times
    Weights that are far are fetched a chunk of channels ahead; of operands, those of the names in
    `late` before the sums that they are added to. With `by_lane`, a multiplication takes a lane of
    a vector.
    """
    kernel = vectorise(sink(split(kernel, "wi", read_block), "wi.1"), "wi.1")
    lanes = kernel.params[-1].layout.block(1)
    kernel = split(kernel, "oc", lanes, "oc.1", "oc.2")
    kernel = sink(sink(kernel, "oc.1"), "oc.2")
    # fewer at once than elsewhere, as loops over the same sums follow each other
    at_once = channels_at_once if by_lane else channels_in_short_line
    size = at_once(tile, read_block)
    for var in ("ic", "is"):
        kernel = split(kernel, var, read_block)
        kernel = split(kernel, f"{var}.1", size, f"{var}.1", f"{var}.2")
        kernel = unroll(kernel, f"{var}.2")
    for var in ("oc.2", "oc.1", "ot", "oh"):
        kernel = jam(kernel, var)
    for var, source in (("ic", "x"), ("is", "v")):
        kernel = prefetch_next(kernel, source, f"{var}.0", ["oh", "ot"])
        if far_weights and has_loop(kernel, f"{var}.1"):
            around = (f"{var}.2", "oc.1")
            kernel = prefetch_ahead(kernel, "weight", f"{var}.1", around, ahead="oq", lanes=lanes)
    kernel = vectorise(unroll(unroll(unroll(kernel, "oh"), "ot"), "oc.1"), "oc.2")
    kernel = parallelise(kernel, "n", "ob", "op")
    return drop_unit_loops(prefetch_operands(kernel, late))
