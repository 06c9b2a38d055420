"""Channels copied one after the other to where zeros are around them."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.loop.expr import Buffer, Const, Expr, Load, Space, Var
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Stmt, Store, map_expressions
from cnnc.loop.rewrite import transform
from cnnc.lowering.halo import halo_nests
from cnnc.lowering.loops import ScheduleError

_CHANNELS = ("oc", "oc.0")


def copy_channels(kernel: Kernel, x: Buffer) -> Kernel:
    """for n, c: y = f(x with zeros)  →  for n: t = scratch;  for c: t = channel c of x; y = f(t)

    The kernel's first operand has a halo; `x` takes its place, which has none. Zeros are written
    around the first channel, and stay for the others of the sample. For kernels without parallel
    loops in which channels of the result read none but their own; ScheduleError for others.
    """
    given, *others = kernel.params
    samples, channels, nests = _nests(kernel)
    together, rest = divmod(given.shape[1], channels.extent)
    if rest:
        raise ScheduleError(f"{kernel.name}: {channels.extent} turns for {given.shape[1]} channels")
    shape = (1, together, *given.shape[2:])
    own = Buffer(f"{x.name}.own", shape, x.dtype, given.layout, Space.SCRATCH)
    computed = map_expressions(nests, lambda root: _on_own(root, given, own, channels.var))
    turns = channels.with_body((_copy(x, own, Var(channels.var) * together), *computed))
    nest = samples.with_body((Alloc(own), *halo_nests(own), turns))
    return replace(kernel, params=(x, *others), body=(nest,))


def _nests(kernel: Kernel) -> tuple[For, For, Body]:
    """The loops over samples and channels that all nests begin with, and what is inside.

    If there is no loop over channels, they are all computed in one turn.
    """
    heads: set[tuple[Stmt, Stmt]] = set()
    nests: list[Stmt] = []
    for nest in kernel.body:
        if not isinstance(nest, For) or nest.var != "n":
            raise ScheduleError(f"{kernel.name}: a nest does not begin with its samples")
        turns, *more = nest.body
        if more or not isinstance(turns, For) or turns.var not in _CHANNELS:
            turns = For("oc", 1, nest.body)
        heads.add((nest.with_body(()), turns.with_body(())))
        # names and registers of nests that stood apart may be the same
        alone = len(turns.body) == 1 or len(kernel.body) == 1
        nests += turns.body if alone else (For("all", 1, turns.body),)
    if len(heads) > 1:
        raise ScheduleError(f"{kernel.name}: nests differ in samples or channels")
    ((samples, channels),) = heads
    assert isinstance(samples, For)
    assert isinstance(channels, For)
    return samples, channels, tuple(nests)


def _on_own(root: Expr, given: Buffer, own: Buffer, turn: str) -> Expr:
    """The same value computed from the copy, which begins with the first channel of a turn."""

    def first(expr: Expr) -> Expr | None:
        return Const(0) if isinstance(expr, Var) and expr.name == turn else None

    def load(expr: Expr) -> Expr | None:
        if not isinstance(expr, Load) or expr.buffer != given:
            return None
        _, channel, *position = expr.index
        return Load(own, (Const(0), transform(channel, first), *position))

    return transform(root, load)


def _copy(x: Buffer, own: Buffer, first: Expr) -> Stmt:
    """for c, h, w: t[0, c, h, w] = x[n, first + c, h, w]"""
    names = [f"t{axis}" for axis in range(1, len(own.shape))]
    channel, *position = (Var(name) for name in names)
    value = Load(x, (Var("n"), first + channel, *position))
    return _around(names, own.shape[1:], Store(own, (Const(0), channel, *position), value))


def _around(names: Sequence[str], extents: Sequence[int], stmt: Stmt) -> Stmt:
    for name, extent in reversed(tuple(zip(names, extents, strict=True))):
        stmt = For(name, extent, (stmt,))
    return stmt
