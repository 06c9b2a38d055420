"""Loop transformations: kernel → kernel. Loops are found by the name of their variable.

A name may stand for several loops (the main nest and what `split` peels off); each is changed.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from cnnc.base.layout import Layout
from cnnc.base.tiles import even_pieces
from cnnc.loop.expr import Buffer, Const, Expr, Load, Local, Space, Var
from cnnc.loop.kernel import (
    Alloc,
    Body,
    For,
    Kernel,
    Kind,
    Let,
    Stmt,
    Store,
    expressions,
    map_expressions,
    walk,
)
from cnnc.loop.rewrite import parts, transform


class ScheduleError(Exception):
    """A transformation does not apply: the schedule is wrong, not the user."""


def split(kernel: Kernel, var: str, size: int, outer: str = "", inner: str = "") -> Kernel:
    """for v < n  →  for v.0 < n/size: for v.1 < size, and a peeled loop v.1 for the remainder.

    `outer` and `inner` name the new loops if v.0 and v.1 will not do.
    """
    outer, inner = outer or f"{var}.0", inner or f"{var}.1"

    def change(loop: For) -> Body:
        count, rest = divmod(loop.extent, size)
        nests: list[Stmt] = []
        if count:
            body = substitute(loop.body, {var: Var(outer) * size + Var(inner)})
            main = replace(loop, var=inner, extent=size, body=body)
            nests.append(replace(loop, var=outer, extent=count, body=(main,)))
        if rest:
            body = substitute(loop.body, {var: Var(inner) + count * size})
            nests.append(replace(loop, var=inner, extent=rest, body=body))
        return tuple(nests)

    return each_loop(kernel, var, change)


def split_evenly(kernel: Kernel, var: str, size: int) -> Kernel:
    """for v < n  →  for v.0: for v.1 < size, and the same with v.1 < size - 1 for what is behind.

    As many pieces as `split` makes, which differ by one at most. A single one behind others needs
    no v.0.
    """
    outer, inner = f"{var}.0", f"{var}.1"

    def change(loop: For) -> Body:
        nests: list[Stmt] = []
        start = 0
        for length, count in even_pieces(loop.extent, size):
            single = count == 1 and bool(nests)
            place = Var(inner) + start if single else Var(outer) * length + Var(inner) + start
            nest = replace(loop, var=inner, extent=length, body=substitute(loop.body, {var: place}))
            nests.append(nest if single else replace(loop, var=outer, extent=count, body=(nest,)))
            start += length * count
        return tuple(nests)

    return each_loop(kernel, var, change)


def peel(kernel: Kernel, var: str) -> Kernel:
    """Loops over v of several extents  →  loops of the least, and behind each what it leaves."""
    least = min(s.extent for s in walk(kernel.body) if isinstance(s, For) and s.var == var)

    def change(loop: For) -> Body:
        if loop.extent == least:
            return (loop,)
        body = substitute(loop.body, {var: Var(var) + least})
        rest = replace(loop, extent=loop.extent - least, body=body)
        return replace(loop, extent=least), rest

    return each_loop(kernel, var, change)


def widen(kernel: Kernel, var: str, multiple: int) -> Kernel:
    """for v < n  →  for v < n rounded up, over the padding that blocked layouts have in memory."""

    def change(loop: For) -> Body:
        if loop.reduces:
            raise ScheduleError(f"{var} reduces and cannot be widened")
        return (replace(loop, extent=-(-loop.extent // multiple) * multiple),)

    return each_loop(kernel, var, change)


def sink(kernel: Kernel, var: str) -> Kernel:
    """for v: {for a: S; for b: T}  →  for a: for v: S; for b: for v: T, as deep as loops go.

    A loop that does not reduce moves below reducing ones only through `jam`.
    """

    def change(loop: For) -> Body:
        inner = [stmt for stmt in loop.body if isinstance(stmt, For)]
        alike = all(stmt.reduces == loop.reduces for stmt in inner)
        if len(inner) < len(loop.body) or not alike or (loop.reduces and len(inner) > 1):
            return (loop,)
        if len(inner) > 1:
            _require_own_registers(loop)
        return tuple(stmt.with_body(change(loop.with_body(stmt.body))) for stmt in inner)

    return each_loop(kernel, var, change)


def interchange(kernel: Kernel, outer: str, inner: str) -> Kernel:
    """for a: for b: S  →  for b: for a: S, where b is all there is in a; other loops a stay."""

    def change(loop: For) -> Body:
        match loop.body:
            case (For() as below,) if below.var == inner and not loop.reduces | below.reduces:
                return (below.with_body((loop.with_body(below.body),)),)
        return (loop,)

    return each_loop(kernel, outer, change)


def jam(kernel: Kernel, var: str, through: Collection[str] = ()) -> Kernel:
    """Move a loop around an accumulation inside it; accumulators become arrays over the loop.

    for v: acc; acc = 0; for r: acc += …; y[v] = acc
      →  acc[n]; for v: acc[v] = 0;  for r: for v: acc[v] += …;  for v: y[v] = acc[v]

    It moves below all loops that reduce, and below those named in `through`.
    """

    def change(loop: For) -> Body:
        if loop.reduces:
            raise ScheduleError(f"{var} reduces and cannot be jammed")
        _require_own_registers(loop)
        body, allocs = _expand_accumulators(loop)
        return (*allocs, *(_push(loop.with_body(()), stmt, through) for stmt in _grouped(body)))

    return each_loop(kernel, var, change)


def mark(kernel: Kernel, var: str, kind: Kind) -> Kernel:
    """Run the loop unrolled, as vectors or in parallel."""

    def change(loop: For) -> Body:
        if loop.reduces and kind in (Kind.VECTOR, Kind.PARALLEL):
            raise ScheduleError(f"{var} reduces and cannot be {kind.value}")
        return (replace(loop, kind=kind),)

    return each_loop(kernel, var, change)


def unroll(kernel: Kernel, var: str) -> Kernel:
    """Write the body out once per iteration."""
    return mark(kernel, var, Kind.UNROLLED)


def vectorise(kernel: Kernel, var: str) -> Kernel:
    """Run all iterations at once, one in each lane."""
    return mark(kernel, var, Kind.VECTOR)


def parallelise(kernel: Kernel, *variables: str) -> Kernel:
    """Share the iterations of a nest of outermost loops between threads."""
    for var in variables:
        kernel = mark(kernel, var, Kind.PARALLEL)
    return kernel


def drop_loops(kernel: Kernel, var: str) -> Kernel:
    """for v in 1: S  →  S with v = 0; ScheduleError for a longer loop."""

    def change(loop: For) -> Body:
        if loop.extent > 1:
            raise ScheduleError(f"{var} has {loop.extent} iterations")
        return substitute(loop.body, {var: Const(0)})

    return each_loop(kernel, var, change)


def write_out(kernel: Kernel, var: str) -> Kernel:
    """for v < n: S  →  S with v = 0, S with v = 1, …, each in a loop of its own over one turn."""

    def change(loop: For) -> Body:
        turns = (substitute(loop.body, {var: Const(at)}) for at in range(loop.extent))
        return tuple(replace(loop, extent=1, body=turn) for turn in turns)

    return each_loop(kernel, var, change)


def drop_unit_loops(kernel: Kernel) -> Kernel:
    """for v in 1: S  →  S with v = 0, except for the outermost loop of a nest.

    A loop that holds register arrays or names stays where they could meet those of a neighbour.
    """

    def visit(body: Body) -> Body:
        result: list[Stmt] = []
        for stmt in body:
            if not isinstance(stmt, For):
                result.append(stmt)
                continue
            inner = visit(stmt.body)
            if stmt.extent == 1 and (len(body) == 1 or not _binds(inner)):
                result.extend(substitute(inner, {stmt.var: Const(0)}))
            else:
                result.append(stmt.with_body(inner))
        return tuple(result)

    nests = (
        nest.with_body(visit(nest.body)) if isinstance(nest, For) else nest for nest in kernel.body
    )
    return kernel.with_body(tuple(nests))


def _binds(body: Body) -> bool:
    """Whether there are registers or names, those of vector loops included: these dissolve."""
    return any(
        isinstance(stmt, Alloc | Let)
        or (isinstance(stmt, For) and stmt.kind is Kind.VECTOR and _binds(stmt.body))
        for stmt in body
    )


def substitute(body: Body, values: Mapping[str, Expr]) -> Body:
    """Replace variables by expressions."""

    def change(expr: Expr) -> Expr | None:
        return values.get(expr.name) if isinstance(expr, Var) else None

    return map_expressions(body, lambda expr: transform(expr, change))


def has_loop(kernel: Kernel, var: str) -> bool:
    """Whether there is a loop of this name."""
    return any(isinstance(stmt, For) and stmt.var == var for stmt in walk(kernel.body))


def each_loop(kernel: Kernel, var: str, change: Callable[[For], Body]) -> Kernel:
    """The kernel with something in place of all loops of a name; ScheduleError if it has none."""
    found = False

    def visit(body: Body) -> Body:
        nonlocal found
        result: list[Stmt] = []
        for stmt in body:
            if isinstance(stmt, For) and stmt.var == var:
                found = True
                result.extend(change(stmt))
            elif isinstance(stmt, For):
                result.append(stmt.with_body(visit(stmt.body)))
            else:
                result.append(stmt)
        return tuple(result)

    body = visit(kernel.body)
    if not found:
        raise ScheduleError(f"no loop {var} in {kernel.name}")
    return kernel.with_body(body)


def _require_own_registers(loop: For) -> None:
    """Parts of the body can run apart: no iteration overwrites a register array of another's."""
    allocated = {stmt.buffer.name for stmt in walk(loop.body) if isinstance(stmt, Alloc)}
    for stmt in walk(loop.body):
        match stmt:
            case Store(Buffer(name=name, space=Space.REGISTER), index) if name not in allocated:
                if not any(Var(loop.var) in parts(part) for part in index):
                    raise ScheduleError(f"iterations of {loop.var} share {name}")


def _expand_accumulators(loop: For) -> tuple[Body, tuple[Alloc, ...]]:
    """Register arrays allocated in the loop gain it as their first axis and move out of it."""
    wider: dict[str, Buffer] = {}
    for stmt in loop.body:
        if isinstance(stmt, Alloc):
            old = stmt.buffer
            shape = (loop.extent, *old.shape)
            wider[old.name] = replace(old, shape=shape, layout=Layout.plain(len(shape)))

    def widen_load(expr: Expr) -> Expr | None:
        if isinstance(expr, Load) and expr.buffer.name in wider:
            return Load(wider[expr.buffer.name], (Var(loop.var), *expr.index))
        return None

    def widen_stores(body: Body) -> Body:
        result: list[Stmt] = []
        for stmt in body:
            match stmt:
                case For():
                    result.append(stmt.with_body(widen_stores(stmt.body)))
                case Store(Buffer(name=name, space=Space.REGISTER), index, value) if name in wider:
                    result.append(Store(wider[name], (Var(loop.var), *index), value))
                case _:
                    result.append(stmt)
        return tuple(result)

    kept = tuple(stmt for stmt in loop.body if not isinstance(stmt, Alloc))
    body = map_expressions(kept, lambda expr: transform(expr, widen_load))
    return widen_stores(body), tuple(Alloc(buffer) for buffer in wider.values())


def _grouped(body: Body) -> list[Body]:
    """Statements to distribute the loop over: reductions alone, a Let with all that may read it.

    That is all behind it, up to a reduction from which on nothing reads it. What groups give each
    other in memory lies where the same iteration finds it.
    """
    groups: list[list[Stmt]] = []
    names: set[str] = set()
    for position, stmt in enumerate(body):
        if names and isinstance(stmt, For) and stmt.reduces and not _reads(body[position:], names):
            names = set()
        if names:
            groups[-1].append(stmt)
        else:
            groups.append([stmt])
        if isinstance(stmt, Let):
            names.add(stmt.name)
    return [tuple(group) for group in groups]


def _reads(body: Body, names: Collection[str]) -> bool:
    """Whether any of the names is used."""
    found = (part for expr in expressions(body) for part in parts(expr))
    return any(isinstance(part, Local) and part.name in names for part in found)


def _push(loop: For, group: Body, through: Collection[str]) -> Stmt:
    """The loop around a group of statements, below all reducing loops of a single nest."""
    match group:
        case (For(var, _, body, _, reduces) as nest,) if reduces or var in through:
            inner = tuple(_push(loop, part, through) for part in _grouped(body))
            return nest.with_body(inner)
    return loop.with_body(group)
