"""Several vectors at once through elementary functions, whose instructions wait for each other."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from cnnc.loop.expr import Const, Expr, Local, Var
from cnnc.loop.kernel import Body, For, Kind, Let, Store, map_expressions
from cnnc.loop.rewrite import transform
from cnnc.lowering.lets import Names
from cnnc.lowering.loops import substitute

AT_ONCE = 4
"""Vectors at once. A processor looks ahead some sixty instructions that wait, which is two vectors
one after the other, but a step of each of four side by side."""


def unroll_some(loop: For, names: Names) -> list[tuple[For | None, list[Body]]]:
    """for v in 10: S(v)  →  for v in 2: S(4 v) … S(4 v + 3);  S(8), S(9): AT_ONCE bodies at most.

    Each is a loop, or None for what stands without one, and the bodies to be mixed inside, with
    names of their own. Of loops in a loop, the inner one is unrolled whole if it is short. Empty
    where a loop is not to be unrolled: bodies must be free of loops, and threads that share the
    iterations must find them in a single loop.
    """
    inside = _straight(loop.body)
    if not inside or loop.reduces or loop.kind not in (Kind.SERIAL, Kind.PARALLEL) or loop.grain:
        return []
    most = min(AT_ONCE // len(inside), loop.extent)
    if loop.kind is Kind.PARALLEL:
        most = max(size for size in range(1, most + 1) if loop.extent % size == 0)
    if most * len(inside) < 2 or loop.samples:
        return []
    if loop.kind is Kind.SERIAL and most == loop.extent:
        return [(None, _all(inside, loop.var, [Const(at) for at in range(most)], names))]
    turns, left = divmod(loop.extent, most)
    whole = _all(inside, loop.var, [Var(loop.var) * most + at for at in range(most)], names)
    rest = _all(inside, loop.var, [Const(turns * most + at) for at in range(left)], names)
    made: list[tuple[For | None, list[Body]]] = [(replace(loop, extent=turns), whole)]
    return [*made, (None, rest)] if rest else made


def mixed(bodies: Sequence[Body]) -> Body:
    """The first statement of each, then the second of each, …"""
    columns = chain.from_iterable(zip_longest(*bodies))
    return tuple(stmt for stmt in columns if stmt is not None)


def _straight(body: Body) -> list[Body]:
    """The body, or those of all iterations of a short loop that it is; none where others stand."""
    if len(body) == 1 and isinstance(loop := body[0], For):
        inside = _straight(loop.body) if loop.kind is Kind.SERIAL and not loop.reduces else []
        if not 0 < loop.extent * len(inside) <= AT_ONCE:
            return []
        return [
            substitute(each, {loop.var: Const(at)}) for at in range(loop.extent) for each in inside
        ]
    return [body] if all(isinstance(stmt, Let | Store) for stmt in body) else []


def _all(bodies: Sequence[Body], var: str, places: Sequence[Expr], names: Names) -> list[Body]:
    """The bodies at each of these iterations, under names of their own."""
    return [_at(body, var, place, names) for place in places for body in bodies]


def _at(body: Body, var: str, place: Expr, names: Names) -> Body:
    """The body in an iteration, under names of its own."""
    own = {stmt.name: names.fresh(stmt.name) for stmt in body if isinstance(stmt, Let)}

    def change(expr: Expr) -> Expr | None:
        if isinstance(expr, Local) and expr.name in own:
            return replace(expr, name=own[expr.name])
        return place if expr == Var(var) else None

    changed = map_expressions(body, lambda expr: transform(expr, change))
    return tuple(
        replace(stmt, name=own[stmt.name]) if isinstance(stmt, Let) else stmt for stmt in changed
    )
