"""Sums in pieces, so that a panel of weights is used for all positions while it is near."""

from dataclasses import dataclass, replace

from cnnc.base.layout import Layout
from cnnc.base.tiles import even_pieces
from cnnc.loop.expr import Buffer, Expr, Load, Space, Var
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Stmt, Store
from cnnc.lowering.loops import ScheduleError, each_loop, substitute
from cnnc.lowering.nests import join

IN_TILE = ".1"
"""How loops over what one tile computes end."""
BAND = "row.band"
"""The loop over bands of rows, each with its panels."""


def sum_in_panels(kernel: Kernel, outer: str, var: str, size: int) -> Kernel:
    """for o: for p: acc = a; for r: acc += w[o, r] …; y = acc
      →  for o: for p: s[p] = a;  for r.0: for p: acc = s[p]; for r.1: acc += …; s[p] = acc;
         for p: y = s[p]

    `outer` is o, `var` is r, of which `size` iterations make a panel; s is scratch memory. Between
    o and the sums stand loops over positions, several side by side where some are left over; none
    where there is a single tile.
    """
    found = False

    def change(loop: For) -> Body:
        nonlocal found
        if not _has(loop, var):
            return (loop,)
        found = True
        nests = loop.body
        if not all(isinstance(stmt, For) and not stmt.reduces for stmt in nests):
            nests = (For(f"{outer}.all", 1, nests),)  # a single tile, whose registers need a loop
        return (loop.with_body(_panels(nests, var, size)),)

    kernel = each_loop(kernel, outer, change)
    if not found:
        raise ScheduleError(f"no sums over {var} inside {outer} in {kernel.name}")
    return kernel


def share_panels(kernel: Kernel, around: str, outer: str, *, with_rest: bool) -> Kernel:
    """for a: for o: S; for a: for o: T; for a: U; for a: V
      →  for a: for o: {S; T}; for a: U; for a: V

    `around` is a, `outer` is o: the same panels serve S and T then. Nests without o are those of
    channels that are left over: with the rest they are joined too, otherwise cores share their
    positions.
    """

    def change(loop: For) -> Body:
        return (loop.with_body((_as_loop(loop),)),)

    panelled = tuple(nest for nest in kernel.body if _has(nest, outer))
    rest = tuple(nest for nest in kernel.body if not _has(nest, outer))
    joined = join(each_loop(kernel.with_body(panelled), outer, change), (around, outer))
    if with_rest:
        rest = join(kernel.with_body(rest), (around,)).body
    return kernel.with_body((*joined.body, *rest))


def _as_loop(loop: For) -> Stmt:
    """The loop over tiles that a loop has inside; one around a single tile for its registers."""
    match loop.body:
        case (For(reduces=False) as inner,) if not inner.var.endswith(IN_TILE):
            return inner
    return For(f"{loop.var}.all", 1, loop.body)


def cut_bands(kernel: Kernel, outer: str, var: str, size: int) -> Kernel:
    """for o: for p: S  →  for o: for BAND: for p: S, and the same with one p less for what is left.

    `outer` is o, `var` is p, of which a band has at most `size`. A loop without p is one band.
    """

    def change(loop: For) -> Body:
        match loop.body:
            case (For(var=name) as row,) if name == var:
                bands = _bands(row, size)
            case _:
                bands = [For(BAND, 1, loop.body)]
        return tuple(loop.with_body((band,)) for band in bands)

    return each_loop(kernel, outer, change)


def _bands(row: For, size: int) -> list[For]:
    bands: list[For] = []
    start = 0
    for length, count in even_pieces(row.extent, size):
        place = Var(BAND) * length + Var(row.var) + start
        body = substitute(row.body, {row.var: place})
        bands.append(For(BAND, count, (replace(row, extent=length, body=body),)))
        start += length * count
    return bands


@dataclass(frozen=True, slots=True)
class _Nest:
    """Loops over positions around one sum: what stands before, in and behind its loop."""

    loops: tuple[For, ...]
    alloc: Alloc
    before: Body
    sum: For
    behind: Body

    def around(self, body: Body) -> Stmt:
        """The loops around other statements on the same registers."""
        body = (self.alloc, *body)
        for loop in reversed(self.loops):
            body = (loop.with_body(body),)
        (stmt,) = body
        return stmt

    def scratch(self, number: int) -> Buffer:
        """Memory for the sums of all positions."""
        register = self.alloc.buffer
        shape = (*(loop.extent for loop in self.loops), *register.shape)
        name = f"part.{number}" if number else "part"
        return Buffer(name, shape, register.dtype, Layout.plain(len(shape)), Space.SCRATCH)


def _panels(body: Body, var: str, size: int) -> Body:
    nests = [_nest_of(stmt, var) for stmt in body]
    parts = [nest.scratch(number) for number, nest in enumerate(nests)]
    (count,) = {nest.sum.extent for nest in nests}
    if count % size:
        raise ScheduleError(f"panels of {size} do not divide {count} iterations of {var}")
    outer, pairs = f"{var}.p", list(zip(nests, parts, strict=True))
    start = [nest.around((*nest.before, *_copied(nest, part, back=True))) for nest, part in pairs]
    again = [nest.around(_panel(nest, part, outer, size)) for nest, part in pairs]
    end = [nest.around((*_copied(nest, part), *nest.behind)) for nest, part in pairs]
    loop = For(outer, count // size, tuple(again), reduces=True)
    return (*map(Alloc, parts), *start, loop, *end)


def _panel(nest: _Nest, part: Buffer, outer: str, size: int) -> Body:
    """One panel more for one tile of positions."""
    var = nest.sum.var
    step = Var(outer) * size + Var(var)
    inside = replace(nest.sum, extent=size, body=substitute(nest.sum.body, {var: step}))
    return (*_copied(nest, part), inside, *_copied(nest, part, back=True))


def _copied(nest: _Nest, part: Buffer, *, back: bool = False) -> Body:
    """From scratch memory to the registers, or back, in the loops that first write these."""
    register = nest.alloc.buffer
    position = tuple(Var(loop.var) for loop in nest.loops)

    def copy(stmt: Stmt) -> Stmt:
        match stmt:
            case For():
                return stmt.with_body(tuple(map(copy, stmt.body)))
            case Store(Buffer(name=name), index, _) if name == register.name:
                place: tuple[Expr, ...] = (*position, *index)
                if back:
                    return Store(part, place, Load(register, index))
                return Store(register, index, Load(part, place))
        raise ScheduleError(f"{register.name} does not start with plain stores")

    return tuple(map(copy, nest.before))


def _nest_of(stmt: Stmt, var: str) -> _Nest:
    loops: list[For] = []
    while isinstance(stmt, For) and not stmt.reduces and len(stmt.body) == 1:
        loops.append(stmt)
        (stmt,) = stmt.body
    if not isinstance(stmt, For) or stmt.reduces:
        raise ScheduleError(f"no loops over positions around a sum over {var}")
    loops.append(stmt)
    allocs = [each for each in stmt.body if isinstance(each, Alloc)]
    sums = [at for at, each in enumerate(stmt.body) if isinstance(each, For) and each.reduces]
    if len(allocs) != 1 or len(sums) != 1 or stmt.body[0] is not allocs[0]:
        raise ScheduleError(f"more than one sum over {var}")
    loop = stmt.body[sums[0]]
    assert isinstance(loop, For)
    if loop.var != var:
        raise ScheduleError(f"the sum runs over {loop.var}, not {var}")
    before, behind = stmt.body[1 : sums[0]], stmt.body[sums[0] + 1 :]
    return _Nest(tuple(loops), allocs[0], before, loop, behind)


def _has(stmt: Stmt, var: str) -> bool:
    if not isinstance(stmt, For):
        return False
    return stmt.var == var or any(_has(inner, var) for inner in stmt.body)
