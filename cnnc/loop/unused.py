"""Names for values that nobody reads."""

from collections.abc import Iterator

from cnnc.loop.expr import Expr, Local, children
from cnnc.loop.kernel import Alloc, Body, For, Let, Prefetch, Stmt, Store


def without_unused(body: Body) -> Body:
    """The same statements without those names that no value needs."""
    return _needed(body)[0]


def _needed(body: Body) -> tuple[Body, set[str]]:
    """What is left of a body, and the names from outside that it reads."""
    kept: list[Stmt] = []
    needed: set[str] = set()
    for stmt in reversed(body):
        match stmt:
            case Let(name, value):
                if name not in needed:
                    continue
                needed.discard(name)
                needed.update(_locals(value))
            case For():
                inner, outside = _needed(stmt.body)
                stmt = stmt.with_body(inner)
                needed |= outside
            case Store(_, index, value):
                needed.update(name for part in (*index, value) for name in _locals(part))
            case Prefetch(_, index):
                needed.update(name for part in index for name in _locals(part))
            case Alloc():
                pass
        kept.append(stmt)
    return tuple(reversed(kept)), needed


def _locals(expr: Expr) -> Iterator[str]:
    if isinstance(expr, Local):
        yield expr.name
    for part in children(expr):
        yield from _locals(part)
