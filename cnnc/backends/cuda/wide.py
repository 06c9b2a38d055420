"""Loops whose innermost iterations write neighbours: a thread does several, moved at once."""

from collections.abc import Iterator, Sequence

from cnnc.backends.cuda.kernel import Wish
from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.loop.affine import affine
from cnnc.loop.expr import Buffer, Expr, Load, Select, Space, Var, children
from cnnc.loop.kernel import Body, For, Let, Store
from cnnc.loop.rewrite import parts

WIDEST = 16
"""Bytes of one instruction."""


@record
class Wide:
    """`width` neighbours along the loop of `var`; the loads are done at once, before all else."""

    width: int
    var: str
    loads: tuple[Load, ...]


def widen(loops: Sequence[For], body: Body, wish: Wish) -> Wide | None:
    """How a nest's iterations are done several at a time; None where each is done alone.

    Each of them must store one element and do nothing else, without reading what others store.
    """
    *lets, store = body or (None,)
    if not loops or loops[-1].samples or not isinstance(store, Store):
        return None
    named = [each.value for each in lets if isinstance(each, Let) and each.value.dtype]
    values = [*named, store.value]
    read = {part.buffer.name for each in values for part in parts(each) if isinstance(part, Load)}
    if len(named) < len(lets) or store.buffer.name in read:
        return None
    var, extent = loops[-1].var, loops[-1].extent
    loads = tuple(dict.fromkeys(load for value in values for load in _always(value)))
    for width in (8, 4, 2):
        if extent % width == 0 and _moves(store.buffer, store.index[0], var, width, wish):
            found = (e for e in loads if _moves(e.buffer, e.index[0], var, width, wish))
            return Wide(width, var, tuple(found))
    return None


def _always(value: Expr) -> Iterator[Load]:
    """Loads that are done whatever the values are."""
    if isinstance(value, Load):
        yield value
        return
    for part in (value.condition,) if isinstance(value, Select) else children(value):
        yield from _always(part)


def _moves(buffer: Buffer, index: Expr, var: str, width: int, wish: Wish) -> bool:
    """Whether so many neighbours along the loop are neighbours in memory, and begin a piece."""
    if buffer.dtype is not DType.F32 or buffer.space is not Space.MEMORY:
        return False
    # of float32 alone, eight are two pieces, and threads are better than these
    size, most = wish.bytes_of(buffer.name) * width, 2 * WIDEST if wish.narrow else WIDEST
    if size > most or wish.alignment % min(size, WIDEST):
        return False
    form = affine(index)
    others = [(term, factor) for term, factor in form.terms if term != Var(var)]
    if any(Var(var) in parts(term) or factor % width for term, factor in others):
        return False
    return form.coefficient(Var(var)) == 1 and form.constant % width == 0


def is_used(var: str, value: Expr, wide: Wide) -> bool:
    """Whether the value depends on the variable, beside what is loaded at once."""
    if value in wide.loads:
        return False
    return value == Var(var) or any(is_used(var, part, wide) for part in children(value))
