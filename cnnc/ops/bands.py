"""Bands of rows: operators on some rows of their tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cnnc.base.record import record
from cnnc.ir.graph import Input, Node
from cnnc.ir.types import TensorType
from cnnc.loop.expr import Buffer, Const, Expr, Load, Space, Var, both, maximum, minimum, select
from cnnc.loop.kernel import Body, For, Kind, Prefetch, Stmt, Store, map_expressions
from cnnc.loop.rewrite import transform
from cnnc.ops.spec import Operator

Indices = tuple[Expr, ...]

SAMPLE, BAND = "sample", "band"
"""The loops around what is done for one band."""
ROWS = 2
"""The axis of rows."""


@record
class Frame:
    """Where the rows of one band lie in a tensor: from `step` * band + `start` on.

    The tensor has so many `rows`, and around them a `halo` that may be read.
    """

    step: int
    start: int
    rows: int
    halo: tuple[int, int] = (0, 0)

    def row(self, local: Expr) -> Expr:
        """The row of the tensor that a row of the band is."""
        return Var(BAND) * self.step + self.start + local

    def reaches_out(self, bands: int, count: int) -> bool:
        """Whether some of so many bands of so many rows lie partly outside tensor and halo."""
        last = self.step * (bands - 1) + self.start + count - 1
        return self.start < -self.halo[0] or last >= self.rows + self.halo[1]

    def nearest(self, row: Expr) -> Expr:
        """The nearest row that may be read."""
        return minimum(maximum(row, -self.halo[0]), self.rows - 1 + self.halo[1])


@record
class Part:
    """An operator for one band: its `operands` and `result` have one sample and the band's rows.

    `reads` are the frames of the operands that have rows; `writes` is that of the result. What the
    result shall hold in rows that its tensor does not have is `outside`, None if there are none.
    There are so many `bands` in all.
    """

    op: Operator
    operands: tuple[TensorType, ...]
    result: TensorType
    reads: tuple[Frame | None, ...]
    writes: Frame
    outside: float | None
    bands: int

    def node(self, own: Sequence[Node], name: str) -> Node:
        """The part alone: of its `own` operands, the last ones, those with rows are inputs."""
        nodes = [None] * (len(self.operands) - len(own)) + [*own]
        operands = tuple(
            given if given and given.type == kind else _input(f"{name}.{position}", kind)
            for position, (given, kind) in enumerate(zip(nodes, self.operands, strict=True))
        )
        return Node(self.op, operands, self.result, name)


def _input(name: str, kind: TensorType) -> Node:
    return Node(Input(name), (), kind, name)


def place(
    part: Part, body: Body, operands: Mapping[Buffer, Buffer], out: tuple[Buffer, Buffer]
) -> Body:
    """The loops of a part on the tensors, inside loops over SAMPLE and BAND.

    `operands` has for each of the part's own buffers the tensor, or scratch memory for one band;
    `out` is the result's buffer and where it really lies.
    """
    return _Placer(part, operands, *out).body(body)


class _Placer:
    def __init__(
        self, part: Part, operands: Mapping[Buffer, Buffer], own: Buffer, result: Buffer
    ) -> None:
        self.part = part
        self.operands = operands
        self.frames = dict(zip(operands, part.reads, strict=True))
        self.own = own
        self.result = result

    def body(self, body: Body) -> Body:
        """Statements: what is read first, then what is written."""
        return tuple(map(self._statement, map_expressions(body, self._expression)))

    def _expression(self, root: Expr) -> Expr:
        def load(expr: Expr) -> Expr | None:
            if isinstance(expr, Load) and expr.buffer in self.operands:
                return Load(*self._locate(expr.buffer, expr.index))
            return None

        return transform(root, load)

    def _locate(self, buffer: Buffer, index: Indices) -> tuple[Buffer, Indices]:
        target, frame = self.operands[buffer], self.frames[buffer]
        if target.space is Space.SCRATCH or frame is None:
            return target, index
        row = frame.row(index[ROWS])
        if frame.reaches_out(self.part.bands, buffer.shape[ROWS]):
            row = frame.nearest(row)
        return target, (Var(SAMPLE), index[1], row, *index[ROWS + 1 :])

    def _statement(self, stmt: Stmt) -> Stmt:
        match stmt:
            case For(body=inner, kind=kind):
                serial = Kind.SERIAL if kind is Kind.PARALLEL else kind
                return replace(stmt, body=tuple(map(self._statement, inner)), kind=serial)
            case Prefetch(buffer, index) if buffer in self.operands:
                target, where = self._locate(buffer, index)
                return replace(stmt, buffer=target, index=where)
            case Store(buffer=buffer) if buffer == self.own:
                return self._store(stmt)
        return stmt

    def _store(self, stmt: Store) -> Store:
        frame, value = self.part.writes, stmt.value
        row = frame.row(stmt.index[ROWS])
        if self.part.outside is not None and not isinstance(value, Const):
            inside = both(row >= 0, row < frame.rows)
            value = select(inside, value, Const(self.part.outside, self.own.dtype))
        if self.result.space is Space.SCRATCH:
            return Store(self.result, stmt.index, value)
        index = (Var(SAMPLE), stmt.index[1], row, *stmt.index[ROWS + 1 :])
        return Store(self.result, index, value)
