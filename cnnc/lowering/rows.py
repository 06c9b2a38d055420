"""Row-major kernels that accumulate: where neighbours may be lanes of a vector."""

from cnnc.loop.expr import Compare, Expr, Load, Space, Var, children
from cnnc.loop.kernel import Alloc, For, Kernel, Let, Store, walk
from cnnc.loop.rewrite import parts
from cnnc.lowering.copies import loops_of, step_along
from cnnc.lowering.flatten import flatten


def accumulates_rows(kernel: Kernel, var: str) -> bool:
    """Whether all loops over `var` hold one accumulation, and its next value means neighbours.

    They are written one after the other; what is read are neighbours, or one element for all.
    """
    return all(_accumulates(loop) for loop in loops_of(flatten(kernel), var))


def _accumulates(loop: For) -> bool:
    reductions = [stmt for stmt in loop.body if isinstance(stmt, For)]
    inner = [stmt for stmt in walk(loop.body) if isinstance(stmt, For)]
    return len(reductions) == 1 and all(stmt.reduces for stmt in inner) and _fits(loop)


def _fits(loop: For) -> bool:
    """Whether memory is written at neighbours, and read at neighbours or in one place."""

    def reads(expr: Expr) -> bool:
        if isinstance(expr, Load):
            in_registers = expr.buffer.space is Space.REGISTER
            return in_registers or step_along(loop.var, expr.index[0]) in (0, 1)
        if isinstance(expr, Compare) and expr.left.dtype is None and Var(loop.var) in parts(expr):
            return False
        return expr != Var(loop.var) and all(map(reads, children(expr)))

    for stmt in walk(loop.body):
        match stmt:
            case Store(buffer, index, _) if buffer.space is Space.MEMORY:
                fits = step_along(loop.var, index[0]) == 1 and reads(stmt.value)
            case Let() | Store():
                fits = reads(stmt.value)
            case _:
                fits = isinstance(stmt, Alloc | For)
        if not fits:
            return False
    return True
