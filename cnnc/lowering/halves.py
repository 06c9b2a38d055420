"""Half a vector for the last channels of a tile, where the other half would be empty."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cnnc.loop.expr import Buffer, Const, Expr, Load, Space, Var
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Stmt, Store, map_expressions, walk
from cnnc.loop.rewrite import transform
from cnnc.lowering.loops import substitute


def halve_last_vectors(kernel: Kernel, blocks: str, lanes: str) -> Kernel:
    """for b < 2: for v < 16 vector: S  →  for b < 1: for v < 16 vector: S;  for v < 8 vector: S'

    For tiles that hold all blocks of channels, of the last one of which half at most are channels:
    b and v are the loops over `blocks` and `lanes`. S' has registers of its own, and where S stores
    results, zeros are stored into what is left of the block.
    """
    held = {each.buffer for each in walk(kernel.body) if isinstance(each, Alloc)}
    half = {buffer: _half(buffer) for buffer in held if buffer.space is Space.REGISTER}
    halver = _Halver(kernel.params[-1], blocks, lanes, half)
    return kernel.with_body(halver.body(kernel.body))


def _half(buffer: Buffer) -> Buffer:
    *shape, lanes = buffer.shape
    return replace(buffer, name=f"{buffer.name}.half", shape=(*shape, lanes // 2))


class _Halver:
    def __init__(self, out: Buffer, blocks: str, lanes: str, half: Mapping[Buffer, Buffer]) -> None:
        self.out, self.blocks, self.lanes, self.half = out, blocks, lanes, half

    def body(self, body: Body) -> Body:
        """Statements, with those of the last vector apart."""
        return tuple(each for stmt in body for each in self._statement(stmt))

    def _statement(self, stmt: Stmt) -> Iterator[Stmt]:
        match stmt:
            case Alloc(buffer) if buffer in self.half:
                yield from (stmt, Alloc(self.half[buffer]))
            case For(var=self.blocks) if _has(stmt, self.lanes):
                yield replace(stmt, extent=stmt.extent - 1)
                last = substitute(stmt.body, {self.blocks: Const(stmt.extent - 1)})
                yield from (each for own in last for each in self._narrow(own))
            case For():
                yield stmt.with_body(self.body(stmt.body))
            case _:
                yield stmt

    def _narrow(self, stmt: Stmt) -> Iterator[Stmt]:
        """Half as many lanes; what is stored of the others is zero."""
        match stmt:
            case For(var=self.lanes, extent=extent):
                half = extent // 2
                body = tuple(self._own(each) for each in stmt.body)
                yield replace(stmt, extent=half, body=body)
                empty = tuple(self._empty(body, half))
                if empty:
                    yield replace(stmt, extent=half, body=empty)
            case For():
                body = tuple(each for own in stmt.body for each in self._narrow(own))
                yield stmt.with_body(body)
            case _:
                yield self._own(stmt)

    def _empty(self, body: Body, half: int) -> Iterator[Stmt]:
        for stmt in body:
            if isinstance(stmt, Store) and stmt.buffer == self.out:
                (moved,) = substitute((stmt,), {self.lanes: Var(self.lanes) + half})
                assert isinstance(moved, Store)
                yield replace(moved, value=Const(0.0, self.out.dtype))

    def _own(self, stmt: Stmt) -> Stmt:
        """A statement on the registers of half vectors."""

        def load(expr: Expr) -> Expr | None:
            if isinstance(expr, Load) and expr.buffer in self.half:
                return Load(self.half[expr.buffer], expr.index)
            return None

        if isinstance(stmt, Store) and stmt.buffer in self.half:
            stmt = replace(stmt, buffer=self.half[stmt.buffer])
        (changed,) = map_expressions((stmt,), lambda root: transform(root, load))
        return changed


def _has(stmt: Stmt, var: str) -> bool:
    return any(isinstance(each, For) and each.var == var for each in walk((stmt,)))
