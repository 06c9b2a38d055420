"""Threads share a layer by rows rather than by channels, so that they read what they wrote."""

from collections.abc import Sequence
from dataclasses import replace
from math import gcd, prod

from cnnc.loop.expr import Buffer, Expr, Var
from cnnc.loop.kernel import Body, For, Kernel, Kind, Stmt, Store, walk
from cnnc.loop.rewrite import parts as parts_of
from cnnc.lowering.loops import substitute
from cnnc.ops.bands import ROWS

_FEWEST = 2
"""Rows for each core, at least: an axis of fewer is no map's, but made by a reshape."""


def share_rows(kernel: Kernel, out: Buffer, cores: int, *, any_samples: bool = False) -> Kernel:
    """for n, c, h parallel: S  →  for n, h.part, c, h parallel: S, with parts as cores.

    What lies between two layers is read by the core that wrote it then, but for rows at the edges
    of parts. There are as many parts as divide both rows and cores: several cores share the
    channels of a part where these are fewer, and a single part is none. Samples that are as many
    for every core are shared instead, unless with `any_samples` it is not known how many there are.
    """
    return kernel.with_body(
        tuple(_share(nest, out, cores, any_samples=any_samples) for nest in kernel.body)
    )


def begins_with_rows(kernel: Kernel, out: Buffer) -> bool:
    """Whether threads share the first nest by rows of the result."""
    loops = _perfect(kernel.body[0]) if kernel.body else []
    place = _place(loops, out)
    shared = [loop for loop in loops if loop.kind is Kind.PARALLEL and not _has(place, 0, loop)]
    return bool(shared) and _has(place, ROWS, shared[0])


def turn_uneven(kernel: Kernel, cores: int, *, any_samples: bool = False) -> Kernel:
    """Every other nest whose tasks are not as many for every core goes to the last core first.

    A core that has one task more of one nest does not have it of the next one. With `any_samples`
    it is not known how often the outermost loop runs.
    """
    uneven = 0
    nests: list[Stmt] = []
    for nest in kernel.body:
        loops = [loop for loop in _perfect(nest) if loop.kind is Kind.PARALLEL]
        tasks = prod(loop.extent for loop in loops[any_samples:])
        if loops and tasks % cores:
            nest = replace(loops[0], turned=uneven % 2 == 1)
            uneven += 1
        nests.append(nest)
    return kernel.with_body(tuple(nests))


def _share(nest: Stmt, out: Buffer, cores: int, *, any_samples: bool) -> Stmt:
    loops = _perfect(nest)
    place = _place(loops, out)
    samples = [loop for loop in loops if _has(place, 0, loop)]
    others = [loop for loop in loops if loop not in samples]
    row = _row(others, place, cores)
    even = prod(loop.extent for loop in samples) % cores == 0 and not any_samples
    if row is None or even:
        return nest
    parts = gcd(row.extent, cores)
    size, name = row.extent // parts, f"{row.var}.part"
    body = substitute(loops[-1].body, {row.var: Var(name) * size + Var(row.var)})
    part = replace(row, var=name, extent=parts, kind=Kind.PARALLEL)
    inner = [replace(each, extent=size) if each is row else each for each in others]
    for loop in reversed([*samples, part, *inner]):
        body = (loop.with_body(body),)
    return body[0]


def _row(loops: Sequence[For], place: Sequence[Expr], cores: int) -> For | None:
    """The loop over rows, or over planes of a volume, that cores are to share and do not yet."""
    axes = range(ROWS, max(ROWS + 1, len(place) - 1))
    first = loops[0] if loops and loops[0].kind is Kind.PARALLEL else None
    if first is None or any(_has(place, axis, first) for axis in axes):
        return None
    for axis in axes:
        rows = [loop for loop in loops if _has(place, axis, loop)]
        row = max(rows, key=lambda loop: loop.extent, default=None)
        if row and row.extent >= _FEWEST * cores and gcd(row.extent, cores) > 1:
            return row
    return None


def _place(loops: Sequence[For], out: Buffer) -> tuple[Expr, ...]:
    """The index of the first result that is written in loops, or () where there are no rows.

    All that a nest writes in one iteration of its loops lies beside each other.
    """
    stores = walk(loops[-1].body) if loops and len(out.shape) > ROWS else ()
    places = (each.index for each in stores if isinstance(each, Store) and each.buffer == out)
    return next(places, ())


def _perfect(nest: Stmt) -> list[For]:
    """The loops of a perfect nest that do not reduce, down to vectors and what is written out."""
    loops: list[For] = []
    body: Body = (nest,)
    while len(body) == 1 and isinstance(body[0], For) and not body[0].reduces:
        if body[0].kind not in (Kind.PARALLEL, Kind.SERIAL):
            break
        loops.append(body[0])
        body = body[0].body
    return loops


def _has(place: Sequence[Expr], axis: int, loop: For) -> bool:
    """Whether an axis of a place depends on a loop."""
    found = parts_of(place[axis]) if place else ()
    return any(isinstance(part, Var) and part.name == loop.var for part in found)
