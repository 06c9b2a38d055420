"""Vectors in row-major kernels that accumulate: along the row that is added up, or across results.

for i: acc += x[i]  →  for i.0: for i.1 vector: part[i.1] += x[i.0, i.1];  for i.1: acc += part[i.1]
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf, prod

from cnnc.loop.affine import affine
from cnnc.loop.expr import Binary, Buffer, Const, Expr, Fma, Load, Space, Var, binary, children
from cnnc.loop.kernel import (
    Alloc,
    Body,
    For,
    Kernel,
    Kind,
    Let,
    Stmt,
    Store,
    map_expressions,
    register,
    walk,
)
from cnnc.loop.rewrite import parts, transform
from cnnc.lowering.copies import loops_of
from cnnc.lowering.flatten import offset
from cnnc.lowering.loops import jam, split, substitute, unroll, vectorise
from cnnc.lowering.nests import fission
from cnnc.lowering.registers import own_registers

IDENTITY = {"add": 0.0, "max": -inf, "min": inf}
"""What changes nothing, for each operation that may be done in any order."""
FEWEST = 4
"""Lanes that are worth a vector."""
_LONG_ROW = 64
"""Elements of a row from which on its maximum is found sooner in vectors."""
ACCUMULATORS = 4
"""Vectors of results in flight: a multiply-add takes as many cycles as four of them take turns."""


def pays_in_parts(kernel: Kernel) -> bool:
    """Whether rows of a single result each are reduced faster in vectors than one by one.

    The lanes are put together once for each row: for a maximum, which keeps NaN, that takes as long
    as some vectors.
    """
    loops = [stmt for stmt in walk(kernel.body) if isinstance(stmt, For) and stmt.reduces]
    steps = prod(loop.extent for loop in loops)
    stored = (stmt.value for stmt in walk(kernel.body) if isinstance(stmt, Store))
    compares = any(isinstance(value, Binary) and value.op in ("max", "min") for value in stored)
    return not compares or steps >= _LONG_ROW


def vectorise_rows(kernel: Kernel, lanes: int) -> Kernel:
    """Innermost loops over neighbours in memory in vectors, sums in partial sums."""
    return kernel.with_body(_visit(kernel.body, lanes))


def vectorise_results(kernel: Kernel, var: str, lanes: int) -> Kernel:
    """Results that are neighbours along the grid's innermost loop, in the lanes of vectors."""
    inside = {
        stmt.var
        for loop in loops_of(kernel, var)
        for stmt in walk(loop.body)
        if isinstance(stmt, For) and not stmt.reduces
    }
    whole, vectors, lane = f"{var}.v", f"{var}.1", f"{var}.2"
    kernel = split(kernel, var, lanes, whole, lane)
    if loops_of(kernel, whole):
        kernel = split(kernel, whole, ACCUMULATORS, f"{var}.0", vectors)
    kernel = jam(own_registers(fission(kernel)), lane, inside)
    if loops_of(kernel, vectors):
        kernel = unroll(jam(kernel, vectors, inside), vectors)
    return vectorise(kernel, lane)


def may_vectorise_results(kernel: Kernel, var: str) -> bool:
    """Whether neighbours along the loop read one element or neighbours, and differ in no more."""
    loops = loops_of(kernel, var)
    values = [value for loop in loops for value in _values(loop)]
    is_long = max(loop.extent for loop in loops) >= FEWEST
    if any(_names_before_loops(loop.body) for loop in loops):
        return False
    steps = all(_steps(loop, Var(var)) for loop in loops)
    return is_long and steps and all(_reads_rows(value, Var(var)) for value in values)


def _names_before_loops(body: Body) -> bool:
    """Whether a name is known to a loop behind it: they cannot be jammed apart."""
    loops = [at for at, stmt in enumerate(body) if isinstance(stmt, For)]
    before = body[: loops[-1]] if loops else ()
    inner = (stmt.body for stmt in body if isinstance(stmt, For))
    return any(isinstance(stmt, Let) for stmt in before) or any(map(_names_before_loops, inner))


def _values(loop: For) -> Iterator[Expr]:
    for stmt in walk(loop.body):
        if isinstance(stmt, Let | Store):
            yield stmt.value


def _steps(loop: For, var: Var) -> bool:
    """Whether every store in memory moves by a fixed step."""
    stores = [stmt for stmt in walk(loop.body) if isinstance(stmt, Store)]
    return all(
        bool(_step(stmt.buffer, stmt.index, var))
        for stmt in stores
        if stmt.buffer.space is Space.MEMORY
    )


def _step(buffer: Buffer, index: tuple[Expr, ...], var: Var) -> int | None:
    """By how much an offset grows with the variable; None if that is no fixed number."""
    where = offset(buffer, index)
    step = affine(where).coefficient(var)
    return step if var not in parts(affine(where - var * step).expr()) else None


def _reads_rows(expr: Expr, var: Var) -> bool:
    """Whether neighbours read one element or neighbours, and differ in nothing else."""
    if isinstance(expr, Load):
        return _step(expr.buffer, expr.index, var) in (0, 1)
    return expr != var and all(_reads_rows(part, var) for part in children(expr))


def _visit(body: Body, lanes: int) -> Body:
    result: list[Stmt] = []
    for stmt in body:
        if not isinstance(stmt, For) or stmt.kind is not Kind.SERIAL:
            result.append(stmt)
        elif stmt.reduces:
            found = _find_reduction(stmt)
            if found and found.row.extent >= FEWEST:
                result.extend(_in_parts(stmt, found, _even_lanes(found.row.extent, lanes)))
            else:
                result.append(stmt)
        elif _is_row(stmt):
            result.extend(_in_lanes(stmt, lanes))
        else:
            result.append(stmt.with_body(_visit(stmt.body, lanes)))
    return tuple(result)


def _is_row(loop: For) -> bool:
    var = Var(loop.var)
    return (
        loop.extent >= FEWEST
        and all(
            isinstance(stmt, Let)
            or (isinstance(stmt, Store) and _step(stmt.buffer, stmt.index, var) == 1)
            for stmt in loop.body
        )
        and all(_reads_rows(value, var) for value in _values(loop))
    )


def _in_lanes(loop: For, lanes: int) -> list[Stmt]:
    """The loop in whole vectors, and in one that is shorter for what is left."""
    main, rest = _cut(loop, lanes)
    return [*main, *(replace(each, kind=Kind.VECTOR) for each in rest)]


def _cut(loop: For, lanes: int) -> tuple[list[For], list[For]]:
    """Whole vectors, and the loop over what is left."""
    outer, inner = f"{loop.var}.0", f"{loop.var}.1"
    count, rest = divmod(loop.extent, lanes)
    body = substitute(loop.body, {loop.var: Var(outer) * lanes + Var(inner)})
    whole = replace(loop, var=outer, extent=count, body=(For(inner, lanes, body, Kind.VECTOR),))
    body = substitute(loop.body, {loop.var: Var(inner) + count * lanes})
    return [whole][:count], [replace(loop, var=inner, extent=rest, body=body)][:rest]


@dataclass(frozen=True, slots=True)
class _Reduction:
    """Loops that reduce into one register: the innermost one, the register, the operation."""

    row: For
    total: Buffer
    op: str


def _find_reduction(nest: For) -> _Reduction | None:
    """A nest of nothing but reducing loops around one accumulation along a row."""
    row = nest
    while len(row.body) == 1 and isinstance(row.body[0], For) and row.body[0].reduces:
        row = row.body[0]
    *lets, last = row.body
    if not isinstance(last, Store) or not all(isinstance(stmt, Let) for stmt in lets):
        return None
    total = last.buffer
    op = _operation(last.value, total)
    uses = [part for value in _values(row) for part in parts(value) if _is_load(part, total)]
    rows = all(_reads_rows(value, Var(row.var)) for value in _values(row))
    if total.space is not Space.REGISTER or total.shape or not total.dtype.is_float:
        return None
    if op is None or len(uses) != 1:
        return None
    return _Reduction(row, total, op) if rows else None


def _operation(value: Expr, total: Buffer) -> str | None:
    match value:
        case Fma(_, _, c) if _is_load(c, total):
            return "add"
        case Binary(op, left, right) if op in IDENTITY:
            return op if _is_load(left, total) or _is_load(right, total) else None
    return None


def _is_load(expr: Expr, buffer: Buffer) -> bool:
    return isinstance(expr, Load) and expr.buffer == buffer


def _even_lanes(extent: int, lanes: int) -> int:
    """As many lanes as divide the extent, if they are no fewer than half of what there is."""
    fitting = [width for width in range(lanes, max(lanes // 2 - 1, 0), -1) if extent % width == 0]
    return fitting[0] if fitting else min(lanes, extent)


def _in_parts(nest: For, found: _Reduction, lanes: int) -> list[Stmt]:
    """A partial result for each lane, and their sum."""
    total, row = found.total, found.row
    dtype = total.dtype
    part = register(f"{total.name}.{row.var}", (lanes,), dtype)
    lane = f"{row.var}.1"
    start = Store(part, (Var(lane),), Const(IDENTITY[found.op], dtype))
    main, rest = _cut(row, lanes)
    loops = [
        each.with_body(_redirected(each.body, total, Load(part, (Var(lane),)))) for each in main
    ]
    return [
        Alloc(part),
        For(lane, lanes, (start,), Kind.VECTOR),
        *_rebuild(nest, row, [*loops, *rest]),
        *_joined(part, found, lane),
    ]


def _joined(part: Buffer, found: _Reduction, lane: str) -> list[Stmt]:
    """The lanes in pairs, then these, and so on: a chain would wait for each of them in turn."""
    (count,), total, place = part.shape, found.total, Var(lane)
    pairs = register(f"{part.name}.pairs", (count - count // 2,), total.dtype)
    steps: list[Stmt] = [Alloc(pairs)] if count > 1 else []
    source = part
    while count > 1:
        half, rest = count // 2, count - count // 2
        value = binary(found.op, Load(source, (place,)), Load(source, (place + rest,)))
        steps.append(For(lane, half, (Store(pairs, (place,), value),), Kind.UNROLLED))
        if rest > half and source is part:
            steps.append(Store(pairs, (Const(half),), Load(part, (Const(half),))))
        source, count = pairs, rest
    last = Load(source, (Const(0),))
    return [*steps, Store(total, (), binary(found.op, Load(total, ()), last))]


def _redirected(body: Body, total: Buffer, part: Load) -> Body:
    """The accumulation in another register."""
    result: list[Stmt] = []

    def change(expr: Expr) -> Expr | None:
        return part if _is_load(expr, total) else None

    for stmt in map_expressions(body, lambda root: transform(root, change)):
        if isinstance(stmt, For):
            stmt = stmt.with_body(_redirected(stmt.body, total, part))
        elif isinstance(stmt, Store):
            stmt = replace(stmt, buffer=part.buffer, index=part.index)
        result.append(stmt)
    return tuple(result)


def _rebuild(nest: For, row: For, loops: list[Stmt]) -> list[Stmt]:
    """The nest with other loops in place of its innermost one."""
    if nest is row:
        return loops
    (inner,) = nest.body
    assert isinstance(inner, For)
    return [nest.with_body(tuple(_rebuild(inner, row, loops)))]
