"""Where the tiles of Winograd's algorithm lie along an axis."""

from collections.abc import Iterator, Sequence

from cnnc.base.record import record
from cnnc.loop.expr import Expr

MOST_TAPS = 5
"""Taps of a phase along an axis: more would leave a tile of six points a single result."""
MOST_PHASES = 4


@record
class Side:
    """A convolution's window along an axis, and how Winograd's algorithm takes it.

    The window has `taps`, `dilation` positions apart. Every p-th tap is a phase, for p the `stride`
    or the parts into which a long window is `split`, of which only one is more than 1: the sum over
    phases of convolutions with shorter windows. With a stride, those have stride 1 over every p-th
    position; if split, they are p times as dilated. Only one of stride and dilation is more than 1.
    A tile reads `points` positions of each phase, and has so many results less taps of a phase
    but one. With a single tap, it is one position.
    """

    taps: int
    stride: int
    dilation: int
    split: int
    points: int

    @property
    def phases(self) -> int:
        """Those that have a tap."""
        return min(self.stride * self.split, self.taps)

    @property
    def phase_taps(self) -> int:
        """Taps of a phase, at most."""
        return -(-self.taps // (self.stride * self.split))

    @property
    def results(self) -> int:
        """Of a tile."""
        return self.points - self.phase_taps + 1

    def points_for(self, results: int) -> int:
        """Of a tile at an edge that has so many results: fewer points, zero, infinity and pairs."""
        if self.points == 1:
            return 1
        needed = results + self.phase_taps - 1
        return needed + needed % 2

    @property
    def apart(self) -> int:
        """How far the points of a tile and its results are apart, in results."""
        return self.dilation * self.split


def side_of(taps: int, stride: int, dilation: int, points: int) -> Side | None:
    """The side with the fewest products of tiles of so many points; None if there is no such."""
    splits = range(1, MOST_PHASES + 1) if stride == 1 else (1,)
    sides = [Side(taps, stride, dilation, split, points) for split in splits]
    if sides[0].phase_taps == 1:
        return Side(taps, stride, 1 if taps == 1 else dilation, 1, 1)

    def products(side: Side) -> float:
        return side.phases * points / side.results

    sides = [side for side in sides if 1 < side.phase_taps <= MOST_TAPS and side.results > 1]
    return min((side for side in sides if products(side) < taps), key=products, default=None)


@record
class Piece:
    """`count` neighbouring tiles from `start` on, each with so many results.

    Those `at_end` are of the last interleaved results, which are fewer than others.
    """

    start: int
    count: int
    results: int
    at_end: bool = False


@record
class Band:
    """Rows of tiles that are computed together: `count` times `rows` from row `start` on.

    `pieces` are the rows of one time; those of different results stand in a last band.
    """

    start: int
    count: int
    rows: int
    pieces: tuple[Piece, ...]


@record
class TiledAxis:
    """An axis of a convolution, cut into tiles.

    `extent` is that of the result. Where points of a tile are d apart, the results of d
    neighbouring tiles are interleaved: those of tile 0 are 0, d, 2 d, …
    """

    extent: int
    side: Side

    @property
    def count(self) -> int:
        """Tiles that have a result."""
        return sum(piece.count for piece in self.pieces)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All tiles, by how many results they have."""
        apart, results = self.side.apart, self.side.results
        full, rest = divmod(self.extent, results * apart)
        whole, more = divmod(rest, apart)
        start = full * apart
        pieces = [
            Piece(0, start, results),
            Piece(start, more, whole + 1, at_end=True),
            Piece(start + more, apart - more if whole else 0, whole, at_end=True),
        ]
        return tuple(piece for piece in pieces if piece.count)

    @property
    def reach(self) -> int:
        """The first position behind all those that tiles read, from -pad on."""
        side, first = self.side, self.positions()
        last = max(
            first[piece.start + piece.count - 1] + (side.points_for(piece.results) - 1) * side.apart
            for piece in self.pieces
        )
        return last * side.stride + (side.phases - 1) * side.dilation + 1

    def groups(self, pieces: Sequence[Piece]) -> Iterator[tuple[range, int]]:
        """Points that as many tiles use, and how many: those with more results come first."""
        used = [self.side.points_for(piece.results) for piece in pieces]
        ends = sorted({*used})
        for start, end in zip([0, *ends], ends, strict=False):
            tiles = [piece.count for piece, many in zip(pieces, used, strict=True) if many >= end]
            yield range(start, end), sum(tiles)

    def position(self, tile: Expr, *, at_end: bool = False) -> Expr:
        """The first result of a tile; times the stride, the first position it reads of phase 0."""
        apart = self.side.apart
        step = self.side.results * apart
        if apart == 1:
            return tile * step
        if at_end:
            full = self.extent // step
            return tile + full * (step - apart)
        return tile // apart * step + tile % apart

    def positions(self) -> list[int]:
        """The same of all tiles."""
        apart = self.side.apart
        step = self.side.results * apart
        return [tile // apart * step + tile % apart for tile in range(self.count)]

    def bands(self, rows: int) -> Iterator[Band]:
        """So many rows of tiles at a time; where pieces meet, a band has rows of several."""
        pieces, count, at = self.pieces, self.count, 0
        for piece in pieces:
            end = piece.start + piece.count
            if full := max(0, end - at) // rows:
                alike = Piece(0, rows, piece.results, piece.at_end)
                yield Band(at, full, rows, (alike,))
                at += full * rows
            if at < end:
                stop = min(at + rows, count)
                yield Band(at, 1, stop - at, tuple(_within(pieces, at, stop)))
                at = stop


def _within(pieces: tuple[Piece, ...], start: int, stop: int) -> Iterator[Piece]:
    """What lies from `start` to `stop`, counted from there."""
    for piece in pieces:
        first, last = max(piece.start, start), min(piece.start + piece.count, stop)
        if first < last:
            yield Piece(first - start, last - first, piece.results, piece.at_end)
