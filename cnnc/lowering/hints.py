"""Prefetching what a tile will need once it has been summed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from cnnc.ir.graph import Node
from cnnc.loop.expr import Buffer, Const, Expr, Load, Var
from cnnc.loop.kernel import Body, For, Kernel, Kind, Let, Prefetch, Stmt, Store
from cnnc.loop.rewrite import parts, transform
from cnnc.ops.fused import Fused


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
            result.append(replace(stmt, body=_visit(stmt.body, names)))
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
            return [replace(stmt, body=tuple(dict.fromkeys(hints)))] if hints else []
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
