"""All positions of a map as one row, where memory has them so."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from cnnc.base.layout import Layout
from cnnc.loop.affine import simplify
from cnnc.loop.expr import Buffer, Const, Expr, Load, Var
from cnnc.loop.kernel import Body, For, Kernel, Let, Prefetch, Stmt, Store
from cnnc.loop.rewrite import transform
from cnnc.lowering.copies import loops_of
from cnnc.lowering.loops import ScheduleError, drop_loops, each_loop, has_loop

Place = tuple[Buffer, tuple[Expr, ...]]
JOINED = "position"


def join_positions(kernel: Kernel, axes: Sequence[str], taps: Sequence[str]) -> Kernel:
    """for h: for w: y[n, c, h, w] = x[n, c, h, w]  →  for p: y[n, c, p] = x[n, c, p]

    `axes` are the loops over positions, outermost first and perfectly nested; p is JOINED. Those
    over `taps` of a window of one go. ScheduleError where loops are others.
    """
    for var in taps:
        if has_loop(kernel, var):
            kernel = drop_loops(kernel, var)
    count = len(axes)
    extents = tuple(loops_of(kernel, var)[0].extent for var in axes)

    def is_here(part: Expr, var: str, extent: int) -> bool:
        simple = simplify(part, {})
        # along an axis of extent 1, what has the result's shape is indexed as if it were broadcast
        return simple == Var(var) or (extent == 1 and simple == Const(0))

    def place(buffer: Buffer, index: tuple[Expr, ...]) -> Place:
        parts = index[-count:]
        if buffer.shape[-count:] != extents or not all(map(is_here, parts, axes, extents)):
            return buffer, index
        return _in_one_row(buffer, count), (*index[:-count], Var(JOINED))

    def collapse(loop: For) -> Body:
        body, extent = loop.body, loop.extent
        for var in axes[1:]:
            match body:
                case (For(var=name) as inner,) if name == var:
                    body, extent = inner.body, extent * inner.extent
                case _:
                    raise ScheduleError(f"no loop {var} alone in {axes[0]} in {kernel.name}")
        return (replace(loop, var=JOINED, extent=extent, body=_moved(body, place)),)

    return each_loop(kernel, axes[0], collapse)


def part_positions(kernel: Kernel) -> Kernel:
    """y[n, c, p]  →  y[n, c, p // w, p % w]: tensors have the axes of the kernel's parameters."""
    known = {param.name: param for param in kernel.params}

    def place(buffer: Buffer, index: tuple[Expr, ...]) -> Place:
        param = known.get(buffer.name, buffer)
        if len(param.shape) == len(index):
            return buffer, index
        *first, position = index
        places: list[Expr] = []
        for extent in reversed(param.shape[len(index) :]):
            places.insert(0, position % extent)
            position = position // extent
        return param, (*first, position, *places)

    return kernel.with_body(_moved(kernel.body, place))


def _in_one_row(buffer: Buffer, count: int) -> Buffer:
    """The buffer with its last axes, so many, as one; its memory is the same."""
    rank, layout = len(buffer.shape) - count + 1, buffer.layout
    in_order = layout.order == tuple(range(len(buffer.shape)))
    if not in_order or layout.halo or any(axis >= rank - 1 for axis, _ in layout.blocks):
        raise ScheduleError(f"rows of {buffer.name} do not follow each other in memory")
    shape = (*buffer.shape[: rank - 1], prod(buffer.shape[rank - 1 :]))
    layout = Layout(tuple(range(rank)), layout.blocks, (), layout.within)
    return replace(buffer, shape=shape, layout=layout)


def _moved(body: Body, place: Callable[[Buffer, tuple[Expr, ...]], Place]) -> Body:
    """The statements with everything read or written elsewhere."""

    def load(expr: Expr) -> Expr | None:
        return Load(*place(expr.buffer, expr.index)) if isinstance(expr, Load) else None

    def moved(stmt: Stmt) -> Stmt:
        match stmt:
            case For():
                return stmt.with_body(tuple(map(moved, stmt.body)))
            case Store(buffer, index, value):
                return Store(*place(buffer, index), transform(value, load))
            case Prefetch(buffer, index, later):
                return Prefetch(*place(buffer, index), later)
            case Let(name, value):
                return Let(name, transform(value, load))
        return stmt

    return tuple(map(moved, body))
