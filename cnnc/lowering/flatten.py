"""From logical indices to offsets in memory."""

from dataclasses import replace
from itertools import accumulate
from operator import mul

from cnnc.base.layout import Layout
from cnnc.loop.affine import Affine, simplify_sum, weighted
from cnnc.loop.expr import Buffer, Expr, Load
from cnnc.loop.interval import Range
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Let, Prefetch, Stmt, Store
from cnnc.loop.rewrite import transform


def flatten(kernel: Kernel) -> Kernel:
    """x[n, c, h, w]  →  x[offset]: every buffer becomes one-dimensional, offsets are simplified."""
    return replace(
        kernel,
        params=tuple(flat_buffer(param) for param in kernel.params),
        body=_flatten_body(kernel.body, {}),
    )


def flat_buffer(buffer: Buffer) -> Buffer:
    """The buffer as one axis of all its elements in memory."""
    return replace(buffer, shape=(buffer.size,), layout=Layout.plain(1))


def offset(buffer: Buffer, index: tuple[Expr, ...]) -> Expr:
    """Where the element at a logical index lies, in elements from the start of the buffer."""
    return _place(buffer, index).expr()


def _place(buffer: Buffer, index: tuple[Expr, ...]) -> Affine:
    """`offset` as a sum, in which nothing is simplified."""
    layout = buffer.layout
    shifted = [part + layout.halo_of(axis)[0] for axis, part in enumerate(index)]
    parts = [shifted[axis] // layout.block(axis) for axis in layout.order]
    inner = {axis: layout.block(axis) for axis, _ in layout.blocks}
    for axis, size in layout.blocks:
        inner[axis] //= size
        parts.append(shifted[axis] // inner[axis] % size)
    if not parts:  # a number
        return Affine((), 0)
    behind = accumulate(layout.physical_shape(buffer.shape)[:0:-1], mul, initial=1)
    return weighted(zip(parts, [*behind][::-1], strict=True))


def _flatten_body(body: Body, ranges: dict[str, Range]) -> Body:
    known: dict[tuple[Buffer, tuple[Expr, ...]], tuple[Buffer, tuple[Expr]]] = {}

    def place(buffer: Buffer, index: tuple[Expr, ...]) -> tuple[Buffer, tuple[Expr]]:
        # what is accumulated is read and written at the same index
        if (found := known.get((buffer, index))) is None:
            found = flat_buffer(buffer), (simplify_sum(_place(buffer, index), ranges),)
            known[buffer, index] = found
        return found

    def change(expr: Expr) -> Expr | None:
        return Load(*place(expr.buffer, expr.index)) if isinstance(expr, Load) else None

    result: list[Stmt] = []
    for stmt in body:
        match stmt:
            case For(var, extent, inner):
                inside = _flatten_body(inner, {**ranges, var: (0, extent - 1)})
                result.append(stmt.with_body(inside))
            case Alloc(buffer):
                result.append(Alloc(flat_buffer(buffer)))
            case Let(name, value):
                result.append(Let(name, transform(value, change)))
            case Store(buffer, index, value):
                result.append(Store(*place(buffer, index), transform(value, change)))
            case Prefetch(buffer, index, later):
                result.append(Prefetch(*place(buffer, index), later))
    return tuple(result)
