"""Schedules: which transformations a kernel gets."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import inf, prod

from cnnc.base.tiles import Tile, channels_at_once, channels_in_short_line
from cnnc.loop.kernel import Body, For, Kernel, Kind, Stmt, walk
from cnnc.lowering.copies import find_column, has_rows, loops_of
from cnnc.lowering.halves import halve_last_vectors
from cnnc.lowering.hints import prefetch_ahead, prefetch_next, prefetch_operands
from cnnc.lowering.loops import (
    drop_loops,
    drop_unit_loops,
    has_loop,
    interchange,
    jam,
    peel,
    sink,
    split,
    split_evenly,
    unroll,
    vectorise,
    widen,
    write_out,
)
from cnnc.lowering.nests import fission, join
from cnnc.lowering.panels import BAND, cut_bands, share_panels, sum_in_panels
from cnnc.lowering.registers import own_registers
from cnnc.lowering.rows import accumulates_rows
from cnnc.lowering.sweeps import (
    may_vectorise_results,
    pays_in_parts,
    vectorise_results,
    vectorise_rows,
)
from cnnc.offers.panels import Panels

ENOUGH = 64
"""Iterations that any number of cores share evenly; more would each compute their indices."""
_TASKS = 16
"""Tiles of positions that are enough for cores to share, so that those of channels need not be."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a blocked schedule must know of the layer.

    `shares_input`: all channels read the same input, as in a dense convolution. `padded`: every
    operand has its channels in memory up to whole blocks, so that they may be computed.
    `rows_first`: all channels of a row before the next row, so that input rows are read once.
    `pointwise`: a window of one tap, so that every block of channels is read at one place.
    `far_weights`: they are many, and those of the next channels have to be fetched in time.
    `late`: operands that are read only when a tile has been summed. `panels`: of blocks of
    input channels that are summed for all positions before the next ones.
    `phases`: loops over phases that stand around those over positions; `joins_phases`: all phases
    of a row, or of a tile where there is one axis, before the next. At most `most_unrolled`
    multiply-accumulates are written out in one straight line. With `halves`, tiles have all
    channels of the result, and end with half a vector.
    """

    shares_input: bool
    padded: bool
    rows_first: bool
    pointwise: bool
    far_weights: bool
    late: tuple[str, ...]
    most_unrolled: int
    panels: Panels
    phases: int = 0
    joins_phases: bool = False
    halves: bool = False


def schedule_blocked(
    kernel: Kernel, tile: Tile, block: int, read_block: int, *, order: Order
) -> Kernel:
    """for n, oc, oh, ow: acc = …  →  tiles of channel blocks × rows × columns in registers.

    for n, oc.0, oh.0 parallel: for ow.0:
      acc[ow.1, oh.1, oc.1] of vectors over oc.2;  the reduction, innermost part unrolled;  stores
    A block of one channel is a number: then there is no oc.2.
    """
    axes, sweeps = [stmt.var for stmt in _grid(kernel)][2:], _sweeps(kernel)
    phases, spatial = axes[: order.phases] * order.joins_phases, axes[order.phases :]
    if order.padded:
        kernel = widen(kernel, "oc", block)
    kernel = _phases_in_rows(kernel, phases, spatial)
    kernel = split(kernel, "oc", block * tile.blocks, "oc.0", "oc.r")
    kernel = split(kernel, "oc.r", block, "oc.1", "oc.2")
    if block == 1:
        kernel = drop_loops(kernel, "oc.2")
    positions = [f"{var}.1" for var in spatial[-2:]]
    kernel, inner = _cut_positions(kernel, tile, spatial, rows_first=order.rows_first)
    panels = order.panels
    kernel = _nests_in_panels(kernel, panels, spatial) if panels.blocks else kernel
    if len(spatial) == 1 and phases:
        kernel = interchange(fission(kernel), phases[0], f"{spatial[-1]}.0")
    if len(spatial) == 1 and order.rows_first:
        kernel = interchange(fission(kernel), "oc.0", f"{spatial[-1]}.0")
    if not any(isinstance(stmt, For) and stmt.reduces for stmt in walk(kernel.body)):
        return _parallel_outer(_fill_registers(kernel, inner, block))
    kernel = _schedule_reduction(kernel, tile, read_block, order)
    for var in reversed(inner):
        kernel = jam(kernel, var, sweeps)
    if order.shares_input and order.pointwise and has_loop(kernel, "ic.0"):
        kernel = prefetch_next(kernel, "x", "ic.0", [var for var in inner if var in positions])
    ahead = "oc.0"
    if panels.blocks:
        around, ahead = BAND if panels.band else "oc.0", "ic.0.p"
        kernel = sum_in_panels(kernel, around, "ic.0", panels.blocks)
    if order.far_weights and has_loop(kernel, "ic.1") and has_loop(kernel, ahead):
        kernel = prefetch_ahead(
            kernel, "weight", "ic.1", ("ic.2", "oc.1"), ahead=ahead, lanes=block
        )
    kernel = _fill_registers(kernel, inner, block)
    rows = [*spatial[:-1], *(f"{var}.0" for var in spatial)] if phases else []
    together = ("n", "oc.0", *rows) if phases or panels.rest_joined else ()
    kernel = _parallel_outer(prefetch_operands(kernel, order.late), together)
    return halve_last_vectors(kernel, "oc.1", "oc.2") if order.halves else kernel


def _nests_in_panels(kernel: Kernel, panels: Panels, spatial: Sequence[str]) -> Kernel:
    """Columns of each length as a nest, or joined; or nests for bands."""
    kernel = fission(kernel)
    if panels.joined:
        return share_panels(kernel, "n", "oc.0", with_rest=panels.rest_joined)
    if panels.band:
        return fission(cut_bands(kernel, "oc.0", f"{spatial[-2:][0]}.0", panels.band))
    return kernel


def _fill_registers(kernel: Kernel, inner: list[str], lanes: int) -> Kernel:
    """The loops inside a tile written out, the innermost one as vectors where there are any."""
    if lanes == 1:
        return _unroll_all(kernel, inner)
    return vectorise(_unroll_all(kernel, inner[:-1]), inner[-1])


def _cut_positions(
    kernel: Kernel, tile: Tile, spatial: Sequence[str], *, rows_first: bool
) -> tuple[Kernel, list[str]]:
    """Rows and columns in tiles, with the loops inside a tile innermost; these by name."""
    inner = [var for var in ("oc.1", "oc.2") if has_loop(kernel, var)]
    if len(spatial) > 1:
        kernel = split(kernel, spatial[-2], tile.rows)
        inner = [f"{spatial[-2]}.1", *inner]
    for var in inner:
        kernel = sink(kernel, var)
    kernel = fission(kernel)
    if len(spatial) > 1 and rows_first:
        kernel = interchange(kernel, "oc.0", f"{spatial[-2]}.0")
    if spatial:
        kernel = split_evenly(kernel, spatial[-1], tile.columns)
        inner = [f"{spatial[-1]}.1", *inner]
    return kernel, inner


def _phases_in_rows(kernel: Kernel, phases: Sequence[str], spatial: Sequence[str]) -> Kernel:
    """for p: for h: for w: S  →  for h: for p: for w: S, so that a row is read for all phases.

    Rows that only some of the nests have become nests of their own.
    """
    for row in spatial[:-1] if phases else ():
        for phase in reversed(phases):
            kernel = interchange(kernel, phase, row)
    for row in spatial[:-1] if phases else ():
        kernel = peel(kernel, row)
    return kernel


def schedule_reblocked(kernel: Kernel, block: int, read_block: int) -> Kernel:
    """A copy from blocks of channels into wider or narrower ones: vectors of the narrower."""
    kernel = split(kernel, "oc", max(block, read_block), "oc.0", "oc.r")
    kernel = split(kernel, "oc.r", min(block, read_block), "oc.1", "oc.2")
    return _parallel_outer(vectorise(sink(kernel, "oc.2"), "oc.2"))


def schedule_permuted(kernel: Kernel, block: int, at_once: int) -> Kernel:
    """A copy in blocks where channels change lanes: so many vectors together, which read alike."""
    kernel = split(widen(kernel, "oc", block), "oc", block * at_once, "oc.0", "oc.r")
    kernel = split(kernel, "oc.r", block, "oc.1", "oc.2")
    kernel = sink(sink(kernel, "oc.1"), "oc.2")
    kernel = write_out(kernel, "oc.1") if has_loop(kernel, "oc.1") else kernel
    return _parallel_outer(vectorise(kernel, "oc.2"), enough=ENOUGH)


def share_nothing(kernel: Kernel) -> Kernel:
    """The kernel for one thread: no loop is shared."""

    def change(body: Body) -> Body:
        return tuple(
            replace(
                stmt,
                body=change(stmt.body),
                kind=Kind.SERIAL if stmt.kind is Kind.PARALLEL else stmt.kind,
                turned=False,
            )
            if isinstance(stmt, For)
            else stmt
            for stmt in body
        )

    return kernel.with_body(change(kernel.body))


def schedule_unblocked(kernel: Kernel, lanes: int, block: int) -> Kernel:
    """A copy from blocks of channels into rows: each place of memory is read once.

    for oc, oh, ow: y = x  →  for oc.0, oh, ow.0: for oc.1: vectors over ow.1
    """
    *_, last = [loop.var for loop in _grid(kernel)]
    kernel = sink(split(kernel, "oc", block), "oc.1")
    kernel = split(kernel, last, lanes)
    return _parallel_outer(vectorise(sink(kernel, f"{last}.1"), f"{last}.1"))


def schedule_plain(kernel: Kernel, lanes: int, tile: Tile, *, by_element: bool) -> Kernel:
    """Row-major kernels: outer loops in parallel, vectors along the last axis where they serve.

    That is where results come element by element, and in other kernels that read and write
    neighbours along that axis. Transpositions have vectors along the axis they read. Accumulations
    of neighbours are done for a tile of rows × vectors at once, those of a single result in parts.
    """
    grid = _grid(kernel)
    if not grid:
        return _parallel_outer(kernel)
    in_parts = grid[-1].extent == 1 and pays_in_parts(kernel)
    if not in_parts and accumulates_rows(kernel, grid[-1].var):
        return _parallel_outer(_tile_rows(kernel, lanes, tile))
    if lanes == 1:
        return _parallel_outer(kernel, enough=ENOUGH)
    last, rows = grid[-1].var, kernel
    if max(loop.extent for loop in loops_of(kernel, last)) > lanes:
        last, rows = f"{last}.1", split(kernel, last, lanes)
    if by_element or has_rows(rows, last):
        # a single short loop stays: it is what threads would share
        kernel = vectorise(rows, last) if len(grid) > 1 or rows is not kernel else kernel
    elif any(isinstance(stmt, For) and stmt.reduces for stmt in walk(kernel.body)):
        kernel = _vectorise_reduction(kernel, grid, lanes)
    elif column := find_column(kernel, lanes):
        kernel = sink(split(kernel, column, lanes), f"{column}.1")
        kernel = vectorise(kernel, f"{column}.1")
    return _parallel_outer(kernel, enough=ENOUGH)


def schedule_rows(kernel: Kernel, lanes: int, tile: Tile, groups: int) -> Kernel:
    """for n, oc, oh, ow: acc = …  →  tiles of channels × rows × vectors of positions in registers.

    for n, oc.g, oh.0, ow.0 parallel: for oc.0:
      acc[oc.1, oh.1, ow.1] of vectors over ow.2;  the reduction;  stores
    What is read for some positions is near for all channels of a group, and so are the few weights.
    Where positions alone make few tiles, oc.0 is parallel, too, and stands around them. Weights are
    packed for the tile's columns, so that only the last tile of channels may have fewer.
    """
    grid = {loop.var: loop.extent for loop in _grid(kernel)}
    *around, last = [var for var in grid if var != "oc"]
    if groups > 1:
        kernel = split(kernel, "oc", grid["oc"] // groups, "oc.g", "oc.r")
        kernel = split(kernel, "oc.r", tile.columns, "oc.0", "oc.1")
    else:
        kernel = split(kernel, "oc", tile.columns)
    kernel, inner = _cut_row(kernel, last, lanes, tile.blocks)
    if tile.rows > 1:
        *around, row = around
        kernel = split(kernel, row, tile.rows)
        around, inner = [*around, f"{row}.0"], [f"{row}.1", *inner]
    # channels first: what is read stays in registers, and one weight after the other is
    kernel = _tiled(kernel, ["oc.1", *inner], lanes)
    positions = prod(grid.values()) // grid["oc"]
    if groups * positions < _TASKS * lanes * tile.blocks * tile.rows:
        return _parallel_outer(kernel)
    for var in (*around[1:], f"{last}.0"):
        if has_loop(kernel, "oc.0"):
            kernel = interchange(kernel, "oc.0", var)
    return _parallel_outer(kernel, {*around, "oc.g", f"{last}.0"})


def _tile_rows(kernel: Kernel, lanes: int, tile: Tile) -> Kernel:
    """for i, j: acc = …  →  for i.0, j.0: acc[i.1, j.1] of vectors over j.2;  reduction; stores.

    The tile's columns are rows of the result here, its blocks are vectors.
    """
    *_, last = grid = [stmt.var for stmt in _grid(kernel)]
    if len(grid) < 2 + (tile.columns > 1):
        # what is split off the outermost loop needs one around it, to keep its registers in
        kernel = kernel.with_body((For(f"{grid[0]}.all", 1, kernel.body),))
    kernel, inner = _cut_row(kernel, last, lanes, tile.blocks)
    if tile.columns > 1:
        kernel = split_evenly(kernel, grid[-2], tile.columns)
        inner = [f"{grid[-2]}.1", *inner]
    return _tiled(kernel, inner, lanes)


def _cut_row(kernel: Kernel, var: str, lanes: int, vectors: int) -> tuple[Kernel, list[str]]:
    """for v  →  for v.0: for v.1 of vectors: v.2 of lanes; and the names of those in a tile."""
    kernel = split(kernel, var, lanes * vectors, f"{var}.0", f"{var}.r")
    if has_loop(kernel, f"{var}.r"):
        kernel = split(kernel, f"{var}.r", lanes, f"{var}.1", f"{var}.2")
    if lanes == 1:
        kernel = drop_loops(kernel, f"{var}.2")
    return kernel, [name for name in (f"{var}.1", f"{var}.2") if has_loop(kernel, name)]


def _tiled(kernel: Kernel, inner: list[str], lanes: int) -> Kernel:
    """The loops inside a tile innermost and written out, each nest with registers of its own."""
    for var in inner:
        kernel = sink(kernel, var)
    kernel = fission(kernel)
    for var in reversed(inner):
        kernel = jam(kernel, var)
    return own_registers(_fill_registers(kernel, inner, lanes))


def _vectorise_reduction(kernel: Kernel, grid: list[For], lanes: int) -> Kernel:
    """Neighbouring results in the lanes where they read neighbours, otherwise partial sums."""
    last = grid[-1].var
    if len(grid) > 1 and may_vectorise_results(kernel, last):
        return vectorise_results(kernel, last, lanes)
    return vectorise_rows(kernel, lanes)


def _grid(kernel: Kernel) -> list[For]:
    """The loops of the first perfect nest that do not reduce, outermost first."""
    loops: list[For] = []
    body = kernel.body
    while len(body) >= 1 and isinstance(body[0], For) and not body[0].reduces:
        loops.append(body[0])
        body = body[0].body
    return loops


def _sweeps(kernel: Kernel) -> set[str]:
    """Loops over results behind an accumulation, inside the grid."""
    grid = {loop.var for loop in _grid(kernel)}
    inside = (stmt for stmt in walk(kernel.body) if isinstance(stmt, For) and not stmt.reduces)
    return {stmt.var for stmt in inside} - grid


def _schedule_reduction(kernel: Kernel, tile: Tile, read_block: int, order: Order) -> Kernel:
    """Shared input: channels innermost, some at once; otherwise the window's last axes unrolled.

    A window over shared input is not unrolled: neighbouring taps would share their broadcast
    inputs, and keep too many of them in registers. Nor are all channels of a block: given more
    straight-line code than hides the latency, LLVM moves loads so far ahead that they spill.
    """
    if order.shares_input:
        if read_block == 1:
            return kernel
        kernel = sink(split(kernel, "ic", read_block), "ic.1")
        at_once = channels_in_short_line if order.halves else channels_at_once
        size = at_once(tile, read_block)
        return unroll(split(kernel, "ic.1", size, "ic.1", "ic.2"), "ic.2")
    written = tile.vectors
    for loop in reversed(_reduction(kernel)):
        written *= loop.extent
        if written > order.most_unrolled:
            break
        kernel = unroll(kernel, loop.var)
    return kernel


def _reduction(kernel: Kernel) -> list[For]:
    """The first nest of reducing loops, outermost first."""
    loops: list[For] = []
    for stmt in walk(kernel.body):
        if isinstance(stmt, For) and stmt.reduces:
            loops.append(stmt)
            if not (len(stmt.body) == 1 and isinstance(stmt.body[0], For)):
                break
    return loops


def _unroll_all(kernel: Kernel, variables: list[str]) -> Kernel:
    for var in variables:
        kernel = unroll(kernel, var)
    return kernel


def _parallel_outer(kernel: Kernel, together: Collection[str] = (), enough: float = inf) -> Kernel:
    """Share the outermost loops of every nest between threads, down to the first tile loop.

    Nests have the outermost loops in `together` in common, as far as these agree. Loops inside
    those that make `enough` iterations for each sample are not shared.
    """
    nests = join(fission(kernel), together).body
    return drop_unit_loops(kernel.with_body(tuple(_mark_parallel(stmt, enough) for stmt in nests)))


def _mark_parallel(stmt: Stmt, enough: float) -> Stmt:
    if not isinstance(stmt, For) or stmt.reduces or stmt.kind is not Kind.SERIAL:
        return stmt
    if stmt.var.endswith((".1", ".2")):
        return stmt
    body = stmt.body
    # the loop over samples counts for one, as there may be one
    enough /= stmt.extent if stmt.var != "n" else 1
    if len(body) == 1 and enough > 1:
        body = (_mark_parallel(body[0], enough),)
    return replace(stmt, body=body, kind=Kind.PARALLEL)
