"""Where the tiles of Winograd's algorithm lie along an axis."""

from collections.abc import Iterator

from cnnc.base.record import record
from cnnc.loop.expr import Expr


def phase_taps(taps: int, stride: int) -> int:
    """Taps of a phase at most."""
    return -(-taps // stride)


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

    `extent` is that of the result, and the window has `taps`, `dilation` positions apart. With a
    stride s the positions r, r + s, r + 2 s, … are a phase, of which a result reads the taps r,
    r + s, …: the sum over phases of convolutions with stride 1. Of each phase a tile reads so many
    `points`, `dilation` apart, and has points - (taps of a phase) + 1 results; with dilation d, the
    results of d neighbouring tiles are interleaved: those of tile 0 are 0, d, 2 d, … Only one of
    stride and dilation is more than 1.
    """

    extent: int
    taps: int
    stride: int
    dilation: int
    points: int

    @property
    def phases(self) -> int:
        """Those that have a tap."""
        return min(self.stride, self.taps)

    @property
    def results(self) -> int:
        """Of a tile, but for the last ones, which may have fewer."""
        return self.points - phase_taps(self.taps, self.stride) + 1

    @property
    def count(self) -> int:
        """Tiles that have a result."""
        return sum(piece.count for piece in self.pieces)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All tiles, by how many results they have."""
        full, rest = divmod(self.extent, self.results * self.dilation)
        whole, more = divmod(rest, self.dilation)
        start = full * self.dilation
        pieces = [
            Piece(0, start, self.results),
            Piece(start, more, whole + 1, at_end=True),
            Piece(start + more, self.dilation - more if whole else 0, whole, at_end=True),
        ]
        return tuple(piece for piece in pieces if piece.count)

    @property
    def reach(self) -> int:
        """The first position behind all those that tiles are said to read, from -pad on.

        As far as ranges of index expressions tell: the last tile may read less.
        """
        blocks, last = divmod(self.count - 1, self.dilation)
        last = self.dilation - 1 if blocks else last
        start = blocks * self.results * self.dilation + last
        last = start + (self.points - 1) * self.dilation
        return last * self.stride + self.phases

    def position(self, tile: Expr, *, at_end: bool = False) -> Expr:
        """The first result of a tile; times the stride, the first position it reads of phase 0."""
        step = self.results * self.dilation
        if self.dilation == 1:
            return tile * step
        if at_end:
            full = self.extent // step
            return tile + full * (step - self.dilation)
        return tile // self.dilation * step + tile % self.dilation

    def positions(self) -> list[int]:
        """The same of all tiles."""
        step = self.results * self.dilation
        return [t // self.dilation * step + t % self.dilation for t in range(self.count)]

    def bands(self, rows: int) -> Iterator[Band]:
        """So many rows of tiles at a time; those of fewer results are in bands of their own."""
        pieces, count = self.pieces, self.count
        first = pieces[0]
        if full := first.count // rows:
            alike = Piece(0, rows, first.results, first.at_end)
            yield Band(0, full, rows, (alike,))
        for start in range(full * rows, count, rows):
            stop = min(start + rows, count)
            yield Band(start, 1, stop - start, tuple(_within(pieces, start, stop)))


def _within(pieces: tuple[Piece, ...], start: int, stop: int) -> Iterator[Piece]:
    """What lies from `start` to `stop`, counted from there."""
    for piece in pieces:
        first, last = max(piece.start, start), min(piece.start + piece.count, stop)
        if first < last:
            yield Piece(first - start, last - first, piece.results, piece.at_end)
