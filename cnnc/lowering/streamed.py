"""How stages that are computed band by band are put together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from cnnc.base.record import record
from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType
from cnnc.loop.expr import Buffer, Const, Expr, Space, Var
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Kind, Origin, Stmt
from cnnc.lowering.loops import drop_unit_loops, substitute
from cnnc.lowering.registers import rename_registers
from cnnc.ops.bands import BAND, FIRST, IN_ORDER, ROWS, SAMPLE, STRIP, Part, RowPlace, place
from cnnc.ops.runs import between, rows_kept
from cnnc.ops.streamed import Streamed
from cnnc.ops.strips import rows_between, strip_between

Lower = Callable[[Node], Kernel]
BEFORE, ROW, NEXT = "before", "row", "next"
"""Loops of a strip: rows that the first row of the second stage needs beside the next ones; rows of
the second stage; and of the first one those that each of them needs more. In a run: rows that the
first band needs beside the next ones; and those that each band needs more."""
RUN, TURN = "run", "turn"
"""Loops over runs, and over the bands of one."""


def lower_streamed(node: Node, op: Streamed, lower: Lower) -> Kernel:
    """for sample, band parallel: t = scratch; the first stage into t; the second from it; …

    Each stage is scheduled as an operator of its own, by `lower`, for the rows of one band, or for
    one row of a strip; see `_strips`. Strips of the only two stages are parallel, too. In runs,
    it is for a few rows of a band; see `_runs`.
    """
    stages = list(_stages(node, op, lower))
    result = Buffer("y", node.type.shape, node.type.dtype, node.type.layout)
    nest = _runs(op.runs, stages, result) if op.runs else _bands(op, stages, result)
    nest = For(SAMPLE, node.type.shape[0], (nest,), Kind.PARALLEL)
    macs = op.macs(node.type, *(operand.type for operand in node.inputs))
    tiles = ", ".join(map(_algorithm, _together(op, stages)))
    algorithm = f"{op.rows} rows at a time{', in turn' if op.runs else ''}: {tiles}"
    origin = Origin(op.label, node.name, str(node.span or ""), macs, algorithm)
    params = [buffer for stage in stages for buffer in stage.own]
    return drop_unit_loops(Kernel("streamed", (*params, result), ("y",), (nest,), origin))


@record
class _Stage:
    """A part with its loops: what it reads beside the stage before, and where that really lies."""

    number: int
    part: Part
    kernel: Kernel
    own: tuple[Buffer, ...]

    @property
    def tile(self) -> str:
        """Its register tile, or what it is computed as without one."""
        return self.kernel.origin.algorithm.rpartition("tile ")[2]

    def scratch(self, kind: TensorType) -> Buffer:
        """Memory of one thread for its result."""
        out = self.kernel.params[-1]
        return replace(out, name=f"t{self.number}", shape=kind.shape, space=Space.SCRATCH)

    def placed(
        self,
        flow: Sequence[Buffer],
        result: Buffer,
        first: Expr = FIRST,
        places: tuple[RowPlace, RowPlace] = (IN_ORDER, IN_ORDER),
    ) -> Body:
        """Its loops, which read what flows from the stage before; see `place`."""
        *given, out = self.kernel.params
        operands = dict(zip(given, (*flow, *self.own), strict=True))
        # stages may keep vectors of different widths
        body = tuple(rename_registers(stmt, f".s{self.number}") for stmt in self.kernel.body)
        return place(self.part, body, operands, (out, result), first, places)


def _bands(op: Streamed, stages: Sequence[_Stage], result: Buffer) -> For:
    """for band parallel: the stages, each with scratch memory for a band, or for a strip of it."""
    body: list[Stmt] = []
    flow: list[Buffer] = []
    for some in _together(op, stages):
        last = some[-1]
        target = result if last is stages[-1] else last.scratch(last.part.held)
        body += [Alloc(target)] if target is not result else []
        match some:
            case [stage]:
                body += stage.placed(flow, target)
            case [first, second]:
                body.append(_strips(first, second, flow, target, alone=len(stages) == len(some)))
        flow = [target]
    return For(BAND, stages[0].part.bands, tuple(body), Kind.PARALLEL)


def _runs(count: int, stages: Sequence[_Stage], result: Buffer) -> For:
    """for run parallel: { rows of each stage before the first band;  for turn: the new ones }

    Rows that the next band needs, too, stay in a ring.
    """
    parts = [stage.part for stage in stages]
    rings = [stage.scratch(kind) for stage, kind in zip(stages, between(parts), strict=False)]
    flows, targets = [[], *([each] for each in rings)], [*rings, result]
    before: list[Stmt] = []
    turns: list[Stmt] = []
    for stage, flow, target, early, later in zip(
        stages, flows, targets, _places(parts, None), _places(parts, Var(TURN)), strict=True
    ):
        rows, writes = stage.part.result.shape[ROWS], stage.part.writes
        if writes.before:
            first = Var(BEFORE) * rows - writes.before
            body = stage.placed(flow, target, first, early)
            before.append(For(BEFORE, writes.before // rows, body))
        body = stage.placed(flow, target, Var(NEXT) * rows, later)
        turns.append(For(NEXT, writes.count // rows, body))
    bands = parts[0].bands // count
    band = Var(RUN) * bands
    body = (
        *substitute(tuple(before), {BAND: band}),
        For(TURN, bands, substitute(tuple(turns), {BAND: band + Var(TURN)}), reduces=True),
    )
    return For(RUN, count, (*map(Alloc, rings), *body), Kind.PARALLEL)


def _places(parts: Sequence[Part], turn: Expr | None) -> list[tuple[RowPlace, RowPlace]]:
    """Where each part reads and writes, for a band of a run, or before the first if None."""
    reads, writes = [IN_ORDER], list[RowPlace]()
    for (one, two), kind in zip(pairwise(parts), between(parts), strict=True):
        kept, before = rows_kept(two.takes), Const(one.writes.before)
        if kept:
            done = before if turn is None else turn * one.writes.step + before
            ring = kind.shape[ROWS]
            writes.append(RowPlace(done, ring))
            reads.append(RowPlace(done - kept, ring))
        else:
            writes.append(RowPlace(before) if turn is None else IN_ORDER)
            reads.append(writes[-1])
    return list(zip(reads, [*writes, IN_ORDER], strict=True))


def _stages(node: Node, op: Streamed, lower: Lower) -> Iterator[_Stage]:
    parts = op.parts(*(operand.type for operand in node.inputs))
    for number, (part, own) in enumerate(zip(parts, op.shares(node.inputs), strict=True)):
        kernel = lower(part.node(own, f"{node.name}.{number}"))
        given = kernel.params[len(part.operands) - len(own) : -1]
        frames = part.reads[len(part.operands) - len(own) :]
        mine = [
            _whole(buffer, operand, f"{buffer.name}.{number}", has_rows=frame is not None)
            for buffer, operand, frame in zip(given, own, frames, strict=True)
        ]
        yield _Stage(number, part, kernel, tuple(mine))


def _together(op: Streamed, stages: Sequence[_Stage]) -> Iterator[Sequence[_Stage]]:
    """Each stage alone, or with the next one in strips."""
    number = 0
    while number < len(stages):
        end = number + (2 if op.stages[number].strip else 1)
        yield stages[number:end]
        number = end


def _algorithm(stages: Sequence[_Stage]) -> str:
    tiles = " and ".join(stage.tile for stage in stages)
    strip = stages[0].part.strip
    return f"{tiles} in strips of {strip.channels} channels" if strip else tiles


def _strips(
    first: _Stage, second: _Stage, flow: Sequence[Buffer], result: Buffer, *, alone: bool
) -> Stmt:
    """for strip: { rows of the first stage before;  for row: rows of the first;  the second }

    What lies between them is a ring of as many rows as the second reads for one.
    """
    strip = second.part.strip
    assert strip is not None
    span, step = rows_between(second.part.op, second.part.operands[0])
    ring = first.scratch(strip_between(first.part, second.part))
    turning = RowPlace(ring=span)
    body: list[Stmt] = [Alloc(ring)]
    if span > step:
        early = first.placed(flow, ring, Var(BEFORE), (IN_ORDER, turning))
        body.append(For(BEFORE, span - step, early))
    number = Var(ROW) * step + Var(NEXT) + (span - step)
    more = For(NEXT, step, first.placed(flow, ring, number, (IN_ORDER, turning)))
    row = (more, *second.placed([ring], result, Var(ROW), (turning, IN_ORDER)))
    body.append(For(ROW, second.part.writes.count, row, reduces=True))
    kind = Kind.PARALLEL if alone else Kind.SERIAL
    return For(STRIP, strip.count, tuple(body), kind)


def _whole(buffer: Buffer, operand: Node, name: str, *, has_rows: bool) -> Buffer:
    """The buffer of all of an operand that a stage reads, packed as the stage wants constants."""
    kind = operand.type
    if operand.is_constant and not has_rows:
        return replace(buffer, name=name, shape=kind.shape)
    return Buffer(name, kind.shape, kind.dtype, kind.layout)
