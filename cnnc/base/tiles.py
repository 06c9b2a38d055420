"""Register tiles: how much of the result one pass over the reduction computes."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import accumulate
from math import inf, prod

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.base.target import Target

MAX_UNROLLED = 512
"""Multiply-accumulates written out in one straight line: beyond it code leaves the µop cache."""
STRAIGHT_LINE = 128
"""Multiply-accumulates of a shared input in one straight line at most."""
SHORT_LINE = 32
"""The same where LLVM's scheduler would move what is read ahead until sums spill: between several
loops over the same sums, and where vectors of two widths take turns."""
SMALL_UNROLLED = 48
"""The same where memory for code is small."""
SMALL_TILE = 16
"""Accumulators of a tile at most there: each is stored by code of its own."""
_LATENCY = 4
_JITTER = 1.04
"""What it costs to have no more sums than hide the latency, unless each channel reads its own
input: one that is late delays the next step. Measured on Zen 3, dense tiles of eight sums."""
_TILE_OVERHEAD = 12
_LOADED = 0.92
"""Of the loads that could begin, those that do, where several positions share weights and channels
share inputs, and a tile waits for nothing else. Measured on Zen 3 and Zen 5, tiles of one block of
channels; taken for all machines."""
_LINE = 3.0
"""Cycles for a line of memory that two tiles read, each the inputs of some positions: the second
time it may come from the second-level cache. Measured on Zen 3, two positions in a line, maps from
14×14 to 112×112 of 64 to 1024 channels."""
_SPARE = 2
"""Registers of 32 that LLVM's scheduler wants for itself where inputs are vectors."""
_WINDOW = 4
"""Registers at most for a window's vectors beside those of the positions: through them pass those
of any wider one."""
_IN_FLIGHT = 2
_REORDERED = 448
"""Instructions that a large core looks ahead: so far away may others be that it computes while a
sum waits for its last addend."""
_WIDE = 512
"""Bits of vectors whose stores keep the next tile waiting."""
_STORES = 14
"""Such vectors that a tile stores for nothing, as the next one begins meanwhile."""
_STORE = 3.5
"""Cycles that each of the others takes: measured on Zen 5, in whatever order they are stored."""
_SHORTER = 1.025
"""How much faster a shorter tile must be by the estimate: more of its time is overhead."""
_MOST_ROWS = 8
"""Rows of a tile whose vectors hold positions, at most."""
_SAVED = 1 / 3
"""Of a vector's multiply-adds, those that half a vector saves: a half, but for what its shorter
straight lines take. Measured on Zen 4, layers of 24 channels."""
_UNEVEN = 1.04
"""What a tile that does not divide the channel blocks is estimated to cost more than it counts: it
needs code twice, weights of other positions, and shares work less evenly."""


@record
class Tile:
    """Channel blocks × rows × columns held in registers; in rows vectors × rows × channels."""

    blocks: int
    rows: int
    columns: int

    @property
    def vectors(self) -> int:
        """Accumulators, one vector register each."""
        return self.blocks * self.rows * self.columns

    def __str__(self) -> str:
        rows = f"{self.rows}×" if self.rows > 1 else ""
        return f"{self.blocks}×{rows}{self.columns}"


@record
class Work:
    """One layer as the tile search sees it.

    `blocks` channel blocks of the result, `spatial` its extents, `steps` multiply-accumulates per
    element; `per_channel` when each channel block reads its own vector of the input rather than
    one scalar that all of them share, from memory where `read_block` channels are neighbours.
    `strided` when neighbouring positions share no inputs; `taps` of the window along the last axis;
    `own_weights` when every position multiplies by weights of its own; `temporaries` are registers
    that a step needs for itself. More than `near` vectors of weights for a tile leave the
    first-level cache before the next tile, and take `arrival` cycles each to come back. Where each
    input is read at its own position only, a line of memory holds those of `in_line` positions;
    `beside` are positions of the halo before and after each row. All that is done `phases` times.
    With `half`, the last block is but half a vector in tiles of all blocks.

    `in_rows` means the other way round: blocks are vectors of positions, which each row reads for
    itself, from so many `lines` of memory on average, and columns are channels, whose weights all
    positions share. So many blocks stand `apart` at the end of a row, each a tile of its own.
    """

    blocks: int
    spatial: Shape
    steps: int
    per_channel: bool
    read_block: int = 1
    strided: bool = False
    taps: int = 1
    own_weights: bool = False
    temporaries: int = 0
    phases: int = 1
    near: float = inf
    arrival: float = 0.0
    in_rows: bool = False
    lines: float = 1.0
    apart: int = 0
    half: bool = False
    in_line: int = 1
    beside: tuple[int, int] = (0, 0)

    @property
    def heights(self) -> Iterable[int]:
        """Rows that a tile may have: they divide those of the layer."""
        rows = self.spatial[-2] if len(self.spatial) > 1 else 1
        most = _MOST_ROWS if self.in_rows else 2
        return (height for height in range(1, most + 1) if rows % height == 0)


def most_unrolled(target: Target) -> int:
    """Multiply-accumulates that may be written out in one straight line."""
    return SMALL_UNROLLED if target.is_small else MAX_UNROLLED


def channels_at_once(tile: Tile, block: int) -> int:
    """Input channels whose multiply-accumulates are written out in one straight line.

    Four at least, so that they arrive as a vector where a multiplication takes one of its lanes.
    """
    return _at_once(tile, block, 4, STRAIGHT_LINE)


def channels_in_short_line(tile: Tile, block: int) -> int:
    """The same where lines must be short."""
    return _at_once(tile, block, 1, SHORT_LINE)


def _at_once(tile: Tile, block: int, least: int, most: int) -> int:
    """So many of a block's channels that a line has `most` multiply-accumulates at most."""
    size = block
    while size > least and size * tile.vectors > most:
        size //= 2
    return size


def choose_tile(work: Work, target: Target) -> Tile:
    """The tile with the fewest estimated cycles; among equals the one with fewer registers."""
    return min(tiles(work, target), key=lambda tile: (cycles(work, tile, target), tile.vectors))


@cache
def least_cycles(work: Work, target: Target) -> float:
    """The fewest cycles of any tile if all loads began that could: layers are compared by them."""
    return min(_cycles_of(work, tile, target, 1.0) for tile in tiles(work, target))


def registers(tile: Tile, work: Work, target: Target) -> int:
    """Vector registers the inner loop of a tile keeps busy, as LLVM allocates them.

    Accumulators and one vector of weights per block; for inputs a few scalars in flight, or one
    register per position where multiplications take a lane of it, or the window's vectors when
    each channel has its own; and products in flight where there is no multiply-add. In rows
    weights are the scalars, and inputs the vectors.
    """
    own = work.temporaries + (0 if target.has_fma else 3)
    if work.in_rows:
        inputs = min(tile.columns, _in_flight(tile, target))
        return tile.vectors + tile.blocks * tile.rows + inputs + own
    positions = tile.rows * tile.columns
    if work.per_channel:
        inputs = tile.vectors * (2 if work.strided else 1) + min(max(0, work.taps - 3), _WINDOW)
    else:
        by_lane = target.multiplies_by_lane and work.read_block > 1
        inputs = positions if by_lane else min(positions, _in_flight(tile, target))
    return tile.vectors + tile.blocks + inputs + own


def _in_flight(tile: Tile, target: Target) -> int:
    """Scalar inputs that LLVM keeps in registers at once where multiply-adds take a whole vector.

    Seen in the assembly of LLVM 22: one more where each meets more than two vectors of weights, but
    of 16 registers it gives only one to inputs there.
    """
    if tile.blocks <= 2:
        return _IN_FLIGHT
    return _IN_FLIGHT + 1 if target.vector_registers > 16 or not target.has_fma else 1


def fits(tile: Tile, work: Work, target: Target) -> bool:
    """Whether the target has the registers."""
    limit = target.vector_registers
    if limit > 16 and (work.per_channel or target.multiplies_by_lane):
        limit -= _SPARE
    return registers(tile, work, target) <= limit


def cycles(work: Work, tile: Tile, target: Target) -> float:
    """Estimated cycles for the layer.

    A step issues `vectors` multiply-adds and loads the weights and inputs, as many of each a cycle
    as the target has vector units, of shared ones not quite as many, and cannot repeat faster than
    a multiply-add takes, nor quite as fast.
    """
    return _cycles_of(work, tile, target, _LOADED)


def _cycles_of(work: Work, tile: Tile, target: Target, loaded: float) -> float:
    latency = _LATENCY if work.per_channel else _LATENCY * _JITTER
    waits = partial(_stores_wait, latency, 0.0)
    return _cycles(work, tile, target.vector_units, waits, loaded)


def short_cycles(work: Work, tile: Tile, target: Target) -> float:
    """The same for many short sums, as of Winograd's products.

    Tiles follow each other without anything in between, so that steps of the next ones run
    meanwhile. With wide vectors, what a tile stores beyond what the next one hides keeps that
    waiting, unless it waits for weights anyway.
    """
    store = _STORE if keeps_waiting(work.steps, target) else 0.0

    def waits(blocks: int, positions: int) -> tuple[float, float]:
        at_once = max(1.0, _REORDERED / (work.steps * blocks * (positions + 1)))
        return _stores_wait(_LATENCY / at_once, store, blocks, positions)

    return _cycles(work, tile, target.vector_units, waits)


def keeps_waiting(steps: int, target: Target) -> bool:
    """Whether the next tile waits for what one stores: of wide vectors, and not for weights anyway.

    Weights of so many steps and two blocks stay in the first-level cache.
    """
    is_near = 2 * steps * target.vector_bits // 8 <= target.l1_bytes // 2
    return target.vector_bits == _WIDE and is_near


def shorten(tile: Tile, work: Work, target: Target) -> Tile:
    """The tile, or one of as many blocks that stores less at once, where that gains.

    To be asked where a tile `keeps_waiting` the next one. Tiles of a single block do not gain:
    measured on Zen 5, 1×1 convolutions of 16 to 256 channels, and 3×3 ones of three.
    """
    if tile.blocks == 1 or work.per_channel:
        return tile
    waits = partial(_stores_wait, _LATENCY * _JITTER, _STORE)

    def cost(each: Tile) -> float:
        return _cycles(work, each, target.vector_units, waits)

    possible = [each for each in tiles(work, target) if each.blocks == tile.blocks]
    best = min(possible, key=lambda each: (cost(each), each.vectors), default=tile)
    return best if cost(best) * _SHORTER < cost(tile) else tile


def _stores_wait(latency: float, store: float, blocks: int, positions: int) -> tuple[float, float]:
    return latency, max(0, blocks * positions - _STORES) * store


def _cycles(
    work: Work,
    tile: Tile,
    units: int,
    waits: Callable[[int, int], tuple[float, float]],
    loaded: float = _LOADED,
) -> float:
    """Cycles where a tile of blocks and positions waits so long in each step and at its end.

    Of the loads that could begin the part that is `loaded` does.
    """
    columns = work.spatial[-1] if work.spatial else 1
    rows = work.spatial[-2] if len(work.spatial) > 1 else 1
    outer = work.phases * prod(work.spatial[:-2])
    pieces = (_pieces if work.in_rows else even_pieces)(columns, tile.columns)
    alone = [(1, work.apart)] * bool(work.apart)
    shares, has_half = _shares(work), halves(work, tile)
    total = 0.0
    for blocks, chunks in (*_pieces(work.blocks, tile.blocks), *alone):
        for height, bands in _pieces(rows, tile.rows):
            for width, turns in pieces:
                positions = height * width
                sums = blocks * positions
                loads = float(sums if work.own_weights else blocks)
                loads += sums if work.per_channel else positions
                if work.in_rows:
                    loads = blocks * height * work.lines + width
                latency, end = waits(blocks, positions)
                arrival = blocks * work.arrival if blocks * work.steps > work.near else 0.0
                adds = sums - positions * _SAVED if has_half else sums
                if shares and positions > 1:
                    loads /= loaded
                step = max(max(adds, loads) / units, latency, arrival)
                total += chunks * bands * turns * (step * work.steps + _TILE_OVERHEAD + sums + end)
    if work.in_line > 1:
        lines = rows * cut_lines(columns, tile.columns, work.in_line, *work.beside)
        total += -(-work.blocks // tile.blocks) * lines * work.steps / work.read_block * _LINE
    return total * outer * (_UNEVEN if work.blocks % tile.blocks else 1)


def _shares(work: Work) -> bool:
    """Whether positions share weights and blocks of channels inputs."""
    return not (work.per_channel or work.own_weights or work.in_rows)


@cache
def cut_lines(columns: int, width: int, in_line: int, before: int, after: int) -> float:
    """Lines of a row that two of its tiles read, on average over so many rows as a line starts in.

    A line holds `in_line` positions, and rows have so many more `before` and `after` them.
    """
    pieces = [length for length, count in even_pieces(columns, width) for _ in range(count)]
    starts = [before + row * (before + columns + after) for row in range(in_line)]
    edges = [start + at for start in starts for at in accumulate(pieces[:-1])]
    return sum(edge % in_line > 0 for edge in edges) / in_line


def halves(work: Work, tile: Tile) -> bool:
    """Whether tiles end with half a vector."""
    return work.half and tile.blocks >= work.blocks


def even_pieces(extent: int, size: int) -> list[tuple[int, int]]:
    """(length, how often) of nearly equal pieces of an extent, none longer than `size`."""
    count = -(-extent // size)
    length, longer = divmod(extent, count)
    return [(length + 1, longer)] * bool(longer) + [(length, count - longer)]


def _pieces(extent: int, size: int) -> list[tuple[int, int]]:
    """(length, how often) of the pieces when an extent is cut by a size."""
    whole, rest = divmod(extent, size)
    return [(size, whole)] * bool(whole) + [(rest, 1)] * bool(rest)


def tiles(work: Work, target: Target) -> Iterator[Tile]:
    """All tiles that cut the layer into nearly equal pieces and fit the registers.

    Where memory for code is small, into equal ones: those that are left take code of their own.
    """
    columns = work.spatial[-1] if work.spatial else 1
    for blocks in (1, 2, 3, 4, 6, 8):
        if blocks > work.blocks or (work.blocks % blocks and target.is_small):
            continue
        for height in work.heights:
            for width in even_widths(columns):
                tile = Tile(blocks, height, width)
                if target.is_small and (columns % width or tile.vectors > SMALL_TILE):
                    continue
                if tile.vectors > 1 and not fits(tile, work, target):
                    break  # nor does a wider one
                yield tile


@cache
def even_widths(columns: int) -> tuple[int, ...]:
    """Column counts worth trying, in order: each cuts the extent into nearly equal pieces."""
    return tuple(sorted({-(-columns // pieces) for pieces in range(1, columns + 1)}))
