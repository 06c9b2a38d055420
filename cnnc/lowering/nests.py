"""Whole nests of loops: taken apart, and joined."""

from collections.abc import Collection
from dataclasses import replace

from cnnc.loop.kernel import Body, For, Kernel, Stmt


def fission(kernel: Kernel) -> Kernel:
    """for v: {A; B}  →  for v: A; for v: B, for perfect nests down to several inner loops.

    Every nest stands on its own then, and is perfect down to its tile.
    """
    return kernel.with_body(tuple(nest for stmt in kernel.body for nest in _fission(stmt)))


def _fission(stmt: Stmt) -> list[Stmt]:
    if not isinstance(stmt, For) or stmt.reduces:
        return [stmt]
    if not all(isinstance(part, For) and not part.reduces for part in stmt.body):
        return [stmt]
    return [stmt.with_body((inner,)) for part in stmt.body for inner in _fission(part)]


def join(kernel: Kernel, variables: Collection[str]) -> Kernel:
    """for v: A; for v: B  →  for v: {A; B}, for nests that agree in all outermost loops over these.

    Nests do not read each other's results, so that they may run in any order.
    """
    joined: dict[Body, Body] = {}
    for nest in kernel.body:
        around, body = _loops_over(nest, variables)
        # a nest without such loops stays alone
        key = around or (nest,)
        joined[key] = (*joined.get(key, ()), *body)
    nests = (_rebuilt(around, body) for around, body in joined.items())
    return kernel.with_body(tuple(nest for body in nests for nest in body))


def _rebuilt(around: Body, body: Body) -> Body:
    for loop in reversed(around):
        if isinstance(loop, For) and not loop.body:
            body = (loop.with_body(body),)
    return body


def _loops_over(nest: Stmt, variables: Collection[str]) -> tuple[Body, Body]:
    """The perfect outermost loops over some variables, without their bodies, and what is inside."""
    loops: list[For] = []
    body: Body = (nest,)
    while len(body) == 1 and isinstance(body[0], For) and body[0].var in variables:
        loops.append(replace(body[0], body=()))
        body = body[0].body
    return tuple(loops), body
