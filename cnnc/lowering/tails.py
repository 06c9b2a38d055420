"""Elementary functions behind a tile of sums, once in a loop rather than once for each sum."""

from dataclasses import replace
from itertools import chain, count

from cnnc.loop.expr import Buffer, Call, Expr, Load, Space
from cnnc.loop.functions import ELEMENTARY
from cnnc.loop.kernel import (
    Alloc,
    Body,
    For,
    Kernel,
    Kind,
    Stmt,
    Store,
    expressions,
    map_expressions,
    walk,
)
from cnnc.loop.rewrite import parts, transform


def roll_tails(kernel: Kernel) -> Kernel:
    """for v unrolled: y[v] = tanh(acc[v])  →  the same as a loop over sums laid aside

    for v unrolled: sum[v] = acc[v];  for v: y[v] = tanh(sum[v])

    An elementary function is thirty instructions or more: code is smaller, compiled sooner, and no
    slower, as `interleave.py` computes some of the loop's iterations together. The sums stay in
    registers where they are added up, as no other array is looked up by a number that varies. Loops
    over vectors stay inside.
    """
    allocs = {stmt.buffer.name for stmt in walk(kernel.body) if isinstance(stmt, Alloc)}
    return kernel.with_body(_visit(kernel.body, allocs))


def _visit(body: Body, names: set[str]) -> Body:
    result: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, For) and stmt.kind is Kind.UNROLLED and _is_long(stmt):
            result += _rolled(stmt, names)
        elif isinstance(stmt, For):
            result.append(stmt.with_body(_visit(stmt.body, names)))
        else:
            result.append(stmt)
    return tuple(result)


def _is_long(nest: For) -> bool:
    """Whether an elementary function stands in it, and no sums that go on."""
    loops = [stmt for stmt in walk((nest,)) if isinstance(stmt, For)]
    if any(loop.reduces or loop.kind not in (Kind.UNROLLED, Kind.VECTOR) for loop in loops):
        return False
    return any(
        isinstance(part, Call) and part.function in ELEMENTARY
        for root in expressions(nest.body)
        for part in parts(root)
    )


def _rolled(nest: For, names: set[str]) -> Body:
    """The nest as a loop; `names` are those of arrays, and those that it adds."""
    own = {stmt.buffer.name for stmt in walk(nest.body) if isinstance(stmt, Alloc)}
    buffers: dict[Buffer, Buffer] = {}

    def aside(expr: Expr) -> Load | None:
        if not isinstance(expr, Load) or expr.buffer.space is not Space.REGISTER:
            return None
        if expr.buffer.name in own:
            return None
        if expr.buffer not in buffers:
            buffers[expr.buffer] = _aside(expr.buffer, names)
        return Load(buffers[expr.buffer], expr.index)

    def copies(stmt: Stmt) -> Body:
        """Loops that lay aside what their statements read."""
        if isinstance(stmt, For):
            inner = tuple(dict.fromkeys(each for own in stmt.body for each in copies(own)))
            return (stmt.with_body(inner),) if inner else ()
        found = [part for root in expressions((stmt,)) for part in parts(root)]
        pairs = [(aside(part), part) for part in found]
        return tuple(Store(new.buffer, new.index, old) for new, old in pairs if new is not None)

    before = copies(nest)
    (changed,) = map_expressions((nest,), lambda expr: transform(expr, aside))
    return (*map(Alloc, buffers.values()), *before, _serial(changed))


def _aside(buffer: Buffer, names: set[str]) -> Buffer:
    """Another array like it, under a name of its own."""
    plain = f"{buffer.name}.sums"
    possible = chain([plain], (f"{plain}.{number}" for number in count(1)))
    name = next(name for name in possible if name not in names)
    names.add(name)
    return replace(buffer, name=name)


def _serial(stmt: Stmt) -> Stmt:
    if not isinstance(stmt, For):
        return stmt
    kind = Kind.SERIAL if stmt.kind is Kind.UNROLLED else stmt.kind
    return replace(stmt, body=tuple(map(_serial, stmt.body)), kind=kind)
