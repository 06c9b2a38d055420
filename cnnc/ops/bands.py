"""Bands of rows: operators on some rows of their tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cnnc.base.record import record
from cnnc.ir.graph import Input, Node
from cnnc.ir.types import TensorType
from cnnc.loop.build import both, maximum, minimum
from cnnc.loop.expr import Buffer, Const, Expr, Load, Space, Var, select
from cnnc.loop.kernel import Body, For, Kind, Prefetch, Stmt, Store, map_expressions
from cnnc.loop.rewrite import transform
from cnnc.ops.spec import Operator

Indices = tuple[Expr, ...]

SAMPLE, BAND, STRIP = "sample", "band", "strip"
"""The loops around what is done for one band, and for some channels of it."""
ROWS = 2
"""The axis of rows."""
FIRST = Const(0)


@record
class Frame:
    """Where the rows of one band lie in a tensor: `count` of them, from `step` * band + `start` on.

    The tensor has so many `rows`, and around them a `halo` that may be read. Where bands come in
    runs, the first one of each has so many rows `before` these, too: `count` is without them.
    """

    step: int
    start: int
    count: int
    rows: int
    halo: tuple[int, int] = (0, 0)
    before: int = 0

    def row(self, local: Expr) -> Expr:
        """The row of the tensor that a row of the band is."""
        return Var(BAND) * self.step + self.start + local

    def reaches_out(self, bands: int) -> bool:
        """Whether some of so many bands lie partly outside tensor and halo."""
        last = self.step * (bands - 1) + self.start + self.count - 1
        return self.start - self.before < -self.halo[0] or last >= self.rows + self.halo[1]

    def nearest(self, row: Expr) -> Expr:
        """The nearest row that may be read."""
        return minimum(maximum(row, -self.halo[0]), self.rows - 1 + self.halo[1])


@record
class RowPlace:
    """Where a part's rows lie in scratch memory: from `first` on, maybe in a `ring` of so many.

    No row lies before the start of that memory, so that a remainder is never negative.
    """

    first: Expr = FIRST
    ring: int = 0

    def row(self, local: Expr) -> Expr:
        """Where one of the part's rows lies."""
        row = self.first + local
        return row % self.ring if self.ring else row


IN_ORDER = RowPlace()
"""Each row where its number says."""


@record
class Strip:
    """That a part computes one row of so many `channels` at a time, of `count` times as many.

    `axes` says along which axis each operand has the result's channels, None where all of it is
    read. Between two such parts lie no more rows of these channels than the second one reads for a
    row, in a ring that the first one `fills`.
    """

    channels: int
    count: int
    axes: tuple[int | None, ...]
    fills: bool


@record
class Part:
    """An operator for one band: its `operands` and `result` have one sample and the band's rows.

    `reads` are the frames of the operands that have rows; `writes` is that of the result. What the
    result shall hold in rows that its tensor does not have is `outside`, None if there are none.
    There are so many `bands` in all. With a `strip`, operands and result are those of one row, and
    in a run of bands those of a few; frames are still those of the band. In a run, what is written
    are the rows that the band before did not have, while the next part reads all of the band's.
    """

    op: Operator
    operands: tuple[TensorType, ...]
    result: TensorType
    reads: tuple[Frame | None, ...]
    writes: Frame
    outside: float | None
    bands: int
    strip: Strip | None = None

    @property
    def takes(self) -> Frame:
        """The frame of the first operand, which always has rows."""
        (frame, *_) = self.reads
        assert frame is not None
        return frame

    @property
    def held(self) -> TensorType:
        """The result of a whole band, with all channels; of a part that is not in a run."""
        if self.strip is None:
            return self.result
        kind = with_rows(self.result, self.writes.count)
        channels = self.strip.channels * self.strip.count
        return replace(kind, shape=(*kind.shape[:1], channels, *kind.shape[ROWS:]))

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


def with_rows(kind: TensorType, rows: int) -> TensorType:
    """The type with so many rows."""
    return replace(kind, shape=(*kind.shape[:ROWS], rows, *kind.shape[ROWS + 1 :]))


def place(
    part: Part,
    body: Body,
    operands: Mapping[Buffer, Buffer],
    out: tuple[Buffer, Buffer],
    first: Expr = FIRST,
    places: tuple[RowPlace, RowPlace] = (IN_ORDER, IN_ORDER),
) -> Body:
    """The loops of a part on the tensors, inside loops over SAMPLE and BAND, and STRIP if it has.

    `operands` has for each of the part's own buffers the tensor, or scratch memory for one band;
    `out` is the result's buffer and where it really lies. The part's rows begin with the `first`
    one of the band. `places` says where in scratch memory those that it reads and writes lie.
    """
    return _Placer(part, operands, *out, first, places).body(body)


class _Placer:
    def __init__(
        self,
        part: Part,
        operands: Mapping[Buffer, Buffer],
        own: Buffer,
        result: Buffer,
        first: Expr,
        places: tuple[RowPlace, RowPlace],
    ) -> None:
        self.part = part
        self.operands = operands
        self.reads, self.writes = places
        self.frames = dict(zip(operands, part.reads, strict=True))
        strip = part.strip
        self.axes = dict(
            zip(operands, strip.axes if strip else [None] * len(operands), strict=True)
        )
        self.own = own
        self.result = result
        self.first = first

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
        index = self._place_channel(index, self.axes[buffer])
        if frame is None:
            return target, index
        row = self.first * (frame.step // self.part.writes.step) + index[ROWS]
        if target.space is Space.SCRATCH:
            return target, _at(index, self.reads.row(row))
        row = frame.row(row)
        if frame.reaches_out(self.part.bands):
            row = frame.nearest(row)
        return target, (Var(SAMPLE), *_at(index, row)[1:])

    def _place_channel(self, index: Indices, axis: int | None) -> Indices:
        """The place of a strip's channels among all."""
        if self.part.strip is None or axis is None:
            return index
        channel = index[axis] + Var(STRIP) * self.part.strip.channels
        return (*index[:axis], channel, *index[axis + 1 :])

    def _statement(self, stmt: Stmt) -> Stmt:
        match stmt:
            case For(body=inner, kind=kind):
                serial = Kind.SERIAL if kind is Kind.PARALLEL else kind
                return replace(
                    stmt, body=tuple(map(self._statement, inner)), kind=serial, turned=False
                )
            case Prefetch(buffer, index) if buffer in self.operands:
                target, where = self._locate(buffer, index)
                return replace(stmt, buffer=target, index=where)
            case Store(buffer=buffer) if buffer == self.own:
                return self._store(stmt)
        return stmt

    def _store(self, stmt: Store) -> Store:
        frame, value, strip = self.part.writes, stmt.value, self.part.strip
        local = self.first + stmt.index[ROWS]
        row = frame.row(local)
        if self.part.outside is not None and not isinstance(value, Const):
            inside = both(row >= 0, row < frame.rows)
            value = select(inside, value, Const(self.part.outside, self.own.dtype))
        index = self._place_channel(stmt.index, None if strip and strip.fills else 1)
        if self.result.space is Space.SCRATCH:
            return Store(self.result, _at(index, self.writes.row(local)), value)
        return Store(self.result, (Var(SAMPLE), *_at(index, row)[1:]), value)


def _at(index: Indices, row: Expr) -> Indices:
    """The index in another row."""
    return (*index[:ROWS], row, *index[ROWS + 1 :])
