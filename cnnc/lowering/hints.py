"""Prefetching: what a sum reads next, weights of the next tile, what a tile needs at its end."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType

from cnnc.base.target import LINE
from cnnc.ir.graph import Node
from cnnc.loop.expr import Buffer, Const, Expr, Load, Var
from cnnc.loop.interval import bounds
from cnnc.loop.kernel import (
    Body,
    For,
    Kernel,
    Kind,
    Let,
    Prefetch,
    Stmt,
    Store,
    expressions,
    walk,
)
from cnnc.loop.rewrite import parts, transform
from cnnc.lowering.flatten import offset
from cnnc.lowering.loops import ScheduleError, each_loop
from cnnc.ops.fused import Fused


def prefetch_next(kernel: Kernel, buffer: str, var: str, around: Sequence[str]) -> Kernel:
    """for v: … x[v] …  →  for v: prefetch x[v + 1]; … x[v] …, over the loops `around` the load.

    For a reducing loop whose iterations read places far from each other, which the machine's own
    prefetching does not foresee. One hint for each line of memory that places are in.
    """

    def change(loop: For) -> Body:
        hints = _reads(loop, buffer, {var: Var(var) + 1}, around)
        return (loop.with_body((*_one_per_line(hints), *loop.body)),)

    return each_loop(kernel, var, change)


def prefetch_ahead(
    kernel: Kernel, buffer: str, var: str, around: Sequence[str], *, ahead: str, lanes: int
) -> Kernel:
    """for a: for p: for v: … w[a, v] …  →  for a: for p: for v: prefetch w[a + 1, v]; … w[a, v] …

    What the next iteration of a reads comes into the second-level cache meanwhile, over the loops
    `around` the load; one hint for each line of memory. Positions p are loops that the load does
    not depend on. Where a line holds more than one vector of so many `lanes`, hints are many for
    the multiply-adds beside them: there each iteration of the outermost p fetches another part of
    what the first of `around` reads.
    """

    def visit(stmt: Stmt, outer: tuple[For, ...]) -> Stmt:
        if not isinstance(stmt, For):
            return stmt
        if stmt.var != var:
            inside = tuple(visit(each, (*outer, stmt)) for each in stmt.body)
            return stmt.with_body(inside)
        load = _first_load(stmt.body, buffer)
        is_wide = lanes * load.buffer.dtype.bytes >= LINE
        rows = [
            loop for loop in outer if loop.extent > 1 and loop.var not in _variables(load.index)
        ]
        share = _share(stmt, around[0], rows[0]) if rows and not is_wide else {}
        hints = _reads(stmt, buffer, {ahead: Var(ahead) + 1}, around, share, later=True)
        return stmt.with_body((*_one_per_line(hints), *stmt.body))

    def change(loop: For) -> Body:
        return (loop.with_body(tuple(visit(stmt, ()) for stmt in loop.body)),)

    return each_loop(kernel, ahead, change)


def _share(loop: For, var: str, row: For) -> dict[str, list[Expr]]:
    """The places of an inner loop that an iteration of `row` fetches: parts of equal size in turn.

    No more parts than rows, so that all of them have their turn.
    """
    extent = _extents(loop).get(var, 1)
    count = max(n for n in range(1, extent + 1) if extent % n == 0 and n <= row.extent)
    size = extent // count
    return {var: [Var(row.var) % count * size + place for place in range(size)]}


def _variables(index: Sequence[Expr]) -> set[str]:
    return {each.name for part in index for each in parts(part) if isinstance(each, Var)}


def _extents(loop: For) -> dict[str, int]:
    return {stmt.var: stmt.extent for stmt in walk(loop.body) if isinstance(stmt, For)}


def _reads(
    loop: For,
    buffer: str,
    fixed: Mapping[str, Expr],
    around: Sequence[str],
    places: Mapping[str, Sequence[Expr]] = MappingProxyType({}),
    *,
    later: bool = False,
) -> Iterator[Prefetch]:
    """Hints for all that the first load of a buffer reads in loops `around` it; others at 0.

    `places` says which iterations of such loops, if not all.
    """
    load, extents = _first_load(loop.body, buffer), _extents(loop)
    names = [name for name in around if name in extents]
    zeros: dict[str, Expr] = {name: Const(0) for name in extents}
    all_places = (places.get(name) or [Const(at) for at in range(extents[name])] for name in names)
    for chosen in product(*all_places):
        values = {**zeros, **dict(zip(names, chosen, strict=True)), **fixed}
        yield Prefetch(load.buffer, tuple(_at(part, values) for part in load.index), later)


def _first_load(body: Body, buffer: str) -> Load:
    """The first load from a buffer, looking into expressions in order."""
    for expr in expressions(body):
        for part in parts(expr):
            if isinstance(part, Load) and part.buffer.name == buffer:
                return part
    raise ScheduleError(f"{buffer} is not read")


def _one_per_line(hints: Iterable[Prefetch]) -> list[Prefetch]:
    """Of places near each other the first, and those a line or more behind the one before.

    The last one as well, unless the first of all lies at the start of a line in every iteration.
    """
    places = sorted(((_byte(hint), hint) for hint in hints), key=lambda pair: pair[0])
    is_aligned = bool(places) and _begins_lines(places[0][1])
    kept: list[tuple[int, Prefetch]] = []
    for number, (place, hint) in enumerate(places, start=1):
        is_last = number == len(places) or places[number][0] >= place + LINE
        if not kept or place >= kept[-1][0] + LINE or (is_last and not is_aligned):
            kept.append((place, hint))
    return [hint for _, hint in kept]


def _begins_lines(hint: Prefetch) -> bool:
    """Whether a place is at the start of a line, whichever iteration a loop is in."""
    first = _byte(hint)
    steps = (_byte(hint, var) - first for var in _variables(hint.index))
    return not any(place % LINE for place in (first, *steps))


def _byte(hint: Prefetch, var: str = "") -> int:
    """Where the place lies in the first iteration of all loops, but the second one of `var`."""
    values = {name: (int(name == var),) * 2 for name in _variables(hint.index)}
    at = offset(hint.buffer, tuple(Const(bounds(part, values)[0]) for part in hint.index))
    assert isinstance(at, Const)
    return int(at.value) * hint.buffer.dtype.bytes


def prefetch_operands(kernel: Kernel, names: Collection[str]) -> Kernel:
    """acc = …; for r: acc += …; y = acc + e[i]  →  acc = …; prefetch e[i]; for r: acc += …; …

    The buffers of these names are read once for every element of a tile, all at its end: without
    that the processor would wait for each line of them, as sums take longer than it looks ahead.
    """
    return kernel.with_body(_visit(kernel.body, names)) if names else kernel


def late_operands(node: Node, params: Sequence[Buffer]) -> tuple[str, ...]:
    """Tensors of the result's shape that the tail of a fused operator reads."""
    arity = node.op.root_arity if isinstance(node.op, Fused) else len(params)
    return tuple(
        param.name
        for param, operand in zip(params[arity:], node.inputs[arity:], strict=True)
        if not operand.is_constant and operand.type.shape == node.type.shape
    )


def _visit(body: Body, names: Collection[str]) -> Body:
    result: list[Stmt] = []
    given: set[Stmt] = set()
    for position, stmt in enumerate(body):
        if isinstance(stmt, For) and stmt.reduces:
            later = [hint for other in body[position + 1 :] for hint in _hints(other, names, {})]
            result += [*(hint for hint in later if hint not in given), stmt]
            given.update(later)
        elif isinstance(stmt, For):
            result.append(stmt.with_body(_visit(stmt.body, names)))
        else:
            result.append(stmt)
    return tuple(result)


def _hints(stmt: Stmt, names: Collection[str], first: Mapping[str, Expr]) -> list[Stmt]:
    """The same loops with hints instead of loads; one for all lanes of a vector."""
    match stmt:
        case For(kind=Kind.VECTOR):
            first = {**first, stmt.var: Const(0)}
            return [hint for inner in stmt.body for hint in _hints(inner, names, first)]
        case For():
            hints = [hint for inner in stmt.body for hint in _hints(inner, names, first)]
            return [stmt.with_body(tuple(dict.fromkeys(hints)))] if hints else []
        case Let(_, value) | Store(_, _, value):
            found = [part for part in parts(value) if isinstance(part, Load)]
            return [
                Prefetch(load.buffer, tuple(_at(part, first) for part in load.index))
                for load in found
                if load.buffer.name in names
            ]
    return []


def _at(index: Expr, values: Mapping[str, Expr]) -> Expr:
    return transform(index, lambda e: values.get(e.name) if isinstance(e, Var) else None)
