"""The zeros around a tensor."""

from dataclasses import replace

from cnnc.loop.expr import Buffer, Const, Expr, Var
from cnnc.loop.kernel import Body, For, Kernel, Kind, Stmt, Store
from cnnc.lowering.loops import drop_unit_loops
from cnnc.ops.bands import ROWS


def clear_halo(kernel: Kernel, out: Buffer, *, by_rows: bool = False) -> Kernel:
    """Add nests that write zero into the halo of the result, each element once.

    Memory is shared between tensors that are not alive together, so the zeros are written anew in
    every run, by the kernel that writes the tensor. Threads share them as the tensor itself, so
    that where a core has all channels or all rows of its part it writes the zeros beside them.
    """
    nests = halo_nests(out, by_rows=by_rows)
    return drop_unit_loops(kernel.with_body((*kernel.body, *nests)))


def halo_nests(out: Buffer, *, by_rows: bool = False) -> Body:
    """Nests that write zero into the halo of a tensor, each element once.

    Threads share them by channels, or `by_rows`: what is above the first row is the first thread's
    then, and what is below the last one the last thread's.
    """
    return tuple(
        _nest(out, axis, side, width, by_rows=by_rows)
        for axis, ends in enumerate(out.layout.halo)
        for side, width in enumerate(ends)
        if width
    )


def clear_padding(kernel: Kernel, out: Buffer) -> Kernel:
    """Add a nest that writes zero into the channels that only fill the last block."""
    channels, extent = out.shape[1], out.layout.extent(out.shape, 1)
    names = [f"z{axis}" for axis in range(len(out.shape))]
    index: list[Expr] = [Var(name) for name in names]
    index[1] = Var(names[1]) + channels
    extents = (out.shape[0], extent - channels, *out.shape[2:])
    body: Body = (Store(out, tuple(index), Const(0.0, out.dtype)),)
    for name, count in reversed(tuple(zip(names, extents, strict=True))):
        body = (For(name, count, body),)
    nest = body[0]
    assert isinstance(nest, For)
    return kernel.with_body((*kernel.body, replace(nest, kind=Kind.PARALLEL)))


def _nest(out: Buffer, axis: int, side: int, width: int, *, by_rows: bool) -> Stmt:
    """Zeros on one side of an axis: earlier axes run inside, later ones over their halo too."""
    shared = {0} if by_rows and axis == ROWS else {0, ROWS} if by_rows else {0, 1}
    layout, rank = out.layout, len(out.shape)
    block = layout.block(1)
    loops: list[tuple[str, int, Kind]] = []
    index: list[Expr] = []
    for other in range(rank):
        name = f"z{other}"
        low, high = layout.halo_of(other)
        kind = Kind.PARALLEL if other in shared else Kind.SERIAL
        if other == 1:
            loops.append((name, layout.extent(out.shape, 1) // block, kind))
            index.append(Var(name) * block + (Var("z") if block > 1 else 0))
        elif other < axis:
            loops.append((name, out.shape[other], kind))
            index.append(Var(name))
        elif other > axis:
            loops.append((name, low + out.shape[other] + high, kind))
            index.append(Var(name) - low)
        else:
            start = -low if side == 0 else out.shape[axis]
            loops.append((name, width, kind))
            index.append(Var(name) + start)
    if by_rows and axis != ROWS:
        loops.insert(1, loops.pop(ROWS))
    if block > 1:
        loops.append(("z", block, Kind.VECTOR))
    body: Body = (Store(out, tuple(index), Const(0.0, out.dtype)),)
    for name, extent, kind in reversed(loops):
        body = (For(name, extent, body, kind),)
    nest = body[0]
    assert isinstance(nest, For)
    is_first = by_rows and axis == ROWS and side == 0 and out.shape[0] == 1
    return replace(nest, turned=is_first)
