"""Several vectors at once through elementary functions, whose instructions wait for each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from cnnc.loop.expr import Call, Const, Expr, Load, Local, Var
from cnnc.loop.functions import ELEMENTARY
from cnnc.loop.kernel import Body, For, Kind, Let, Store, expressions, map_expressions
from cnnc.loop.rewrite import parts, transform
from cnnc.lowering.lets import Names
from cnnc.lowering.loops import substitute

AT_ONCE = 4
"""Functions at once. Of the instructions that wait for others, a processor holds about as many as
two functions have: one after the other two would be computed together, side by side all four."""
FEWEST_TASKS = 64
"""Iterations that must be left for threads to share."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Bodies that are to be mixed, with names of their own: in a loop, or without one."""

    loop: For | None
    bodies: Sequence[Body]


def is_elementary(expr: Expr) -> bool:
    """Whether an expression is an elementary function."""
    return isinstance(expr, Call) and expr.function in ELEMENTARY


def side_by_side(loop: For, names: Names, tasks: int) -> list[Turn]:
    """for v in 10: S(v)  →  for v in 2: S(4 v) … S(4 v + 3);  S(8), S(9)

    For bodies with elementary functions of vectors, AT_ONCE functions together; a short loop in
    this one is written out. Empty where nothing can be gained or bodies are not independent of
    each other. Of a parallel loop that is one of a nest with so many `tasks`, enough must be left.
    """
    bodies = _straight(loop.body)
    functions = sum(map(_functions, bodies))
    if not functions or loop.reduces or loop.samples or any(map(_has_state, bodies)):
        return []
    most = min(AT_ONCE // functions, loop.extent)
    if loop.kind is Kind.PARALLEL:
        most = max((n for n in range(1, most + 1) if _may_share(loop, tasks, n)), default=0)
    if most * len(bodies) < 2 or loop.kind not in (Kind.SERIAL, Kind.PARALLEL):
        return []
    if loop.kind is Kind.SERIAL and most == loop.extent:
        return [Turn(None, _all(bodies, loop.var, [Const(at) for at in range(most)], names))]
    turns, left = divmod(loop.extent, most)
    whole = _all(bodies, loop.var, [Var(loop.var) * most + at for at in range(most)], names)
    rest = _all(bodies, loop.var, [Const(turns * most + at) for at in range(left)], names)
    return [Turn(replace(loop, extent=turns), whole), *([Turn(None, rest)] if rest else [])]


def mixed(bodies: Sequence[Body]) -> Body:
    """The first statement of each, then the second of each, …"""
    columns = chain.from_iterable(zip_longest(*bodies))
    return tuple(stmt for stmt in columns if stmt is not None)


def _straight(body: Body) -> list[Body]:
    """A body without loops, or one for each iteration of a short loop; empty for any other."""
    if len(body) == 1 and isinstance(loop := body[0], For):
        inside = _straight(loop.body) if loop.kind is Kind.SERIAL and not loop.reduces else []
        if not 0 < loop.extent * len(inside) <= AT_ONCE:
            return []
        places = range(loop.extent)
        return [substitute(each, {loop.var: Const(at)}) for at in places for each in inside]
    return [body] if all(isinstance(stmt, Let | Store) for stmt in body) else []


def _functions(body: Body) -> int:
    """Elementary functions of vectors in a body, each as often as it stands there."""
    found = (part for root in expressions(body) for part in parts(root))
    return sum(is_elementary(part) and part.lanes > 1 for part in found)


def _has_state(body: Body) -> bool:
    """Whether a body reads what it has written, which another iteration might write, too."""
    written = {stmt.buffer.name for stmt in body if isinstance(stmt, Store)}
    found = (part for root in expressions(body) for part in parts(root))
    return any(isinstance(part, Load) and part.buffer.name in written for part in found)


def _may_share(loop: For, tasks: int, size: int) -> bool:
    """Whether threads still find enough iterations if so many become one."""
    return loop.extent % size == 0 and tasks // size >= FEWEST_TASKS


def _all(bodies: Sequence[Body], var: str, places: Sequence[Expr], names: Names) -> list[Body]:
    """The bodies in each of these iterations, under names of their own."""
    return [_renamed(substitute(body, {var: place}), names) for place in places for body in bodies]


def _renamed(body: Body, names: Names) -> Body:
    """The body with fresh names for its values."""
    own = {stmt.name: names.fresh(stmt.name) for stmt in body if isinstance(stmt, Let)}

    def change(expr: Expr) -> Expr | None:
        if isinstance(expr, Local) and expr.name in own:
            return replace(expr, name=own[expr.name])
        return None

    changed = map_expressions(body, lambda expr: transform(expr, change))
    return tuple(
        replace(stmt, name=own[stmt.name]) if isinstance(stmt, Let) else stmt for stmt in changed
    )
