"""Register arrays of nests that stand side by side."""

from dataclasses import replace

from cnnc.loop.expr import Buffer, Expr, Load, Space
from cnnc.loop.kernel import Alloc, For, Kernel, Stmt, Store, map_expressions
from cnnc.loop.rewrite import transform


def own_registers(kernel: Kernel) -> Kernel:
    """Register arrays of every nest but the first get names of their own: acc → acc.1, acc.2, …

    So that those of a remainder may be read and written with fewer lanes.
    """
    return kernel.with_body(
        tuple(
            rename_registers(nest, f".{number}") if number else nest
            for number, nest in enumerate(kernel.body)
        )
    )


def rename_registers(nest: Stmt, suffix: str) -> Stmt:
    """The nest on register arrays of other names."""

    def buffer(old: Buffer) -> Buffer:
        return replace(old, name=old.name + suffix) if old.space is Space.REGISTER else old

    def load(expr: Expr) -> Expr | None:
        return replace(expr, buffer=buffer(expr.buffer)) if isinstance(expr, Load) else None

    def written(stmt: Stmt) -> Stmt:
        match stmt:
            case For(body=body):
                return stmt.with_body(tuple(map(written, body)))
            case Alloc() | Store():
                return replace(stmt, buffer=buffer(stmt.buffer))
        return stmt

    (loaded,) = map_expressions((nest,), lambda expr: transform(expr, load))
    return written(loaded)
