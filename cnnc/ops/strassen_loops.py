"""The loops of Strassen's algorithm."""

from collections.abc import Iterator, Sequence

from cnnc.base.layout import Layout
from cnnc.base.record import record
from cnnc.base.tiles import even_pieces
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, Fma


def halves_rows(columns: int) -> bool:
    """Whether positions are halved into the left and the right half of each row of so many.

    Threads may share rows in any way then. Rows of odd length are halved by turns: even, odd.
    """
    return columns % 2 == 0


@record
class Form:
    """What the loops need to know: see Strassen. A band has so many `rows`."""

    channels: int
    rows: int
    at_once: int
    tile: tuple[int, int]
    parts: int
    bias: bool


class BandWriter:
    """Writes the loops over one band, whose halves have `lines` of `width` positions."""

    def __init__(
        self,
        form: Form,
        stride: tuple[int, int],
        build: KernelBuilder,
        inputs: Sequence[Buffer],
        where: tuple[Expr, Expr, Expr],
    ) -> None:
        self.form, self.stride, self.build, self.inputs = form, stride, build, inputs
        self.n, self.first_row, self.part = where
        x, columns = inputs[0], build.out.shape[3]
        self.halves_rows = halves_rows(columns)
        self.lines = form.rows if self.halves_rows else form.rows // 2
        self.width = columns // 2 if self.halves_rows else columns
        self.half = x.shape[1] // 2
        layout = Layout.blocked(4, 1, x.layout.block(1))
        self.sums = build.scratch("v", (4, self.half, self.lines, self.width), x.dtype, layout)

    def write(self) -> None:
        """Sums of the input, then all channels of the result, some at once."""
        form, build = self.form, self.build
        self._add_inputs()
        chunks = form.channels // 2 // form.at_once
        with build.loop("oq", chunks // form.parts) as chunk:
            self._multiply((self.part * (chunks // form.parts) + chunk) * form.at_once)

    def place(self, side: int, line: Expr, column: Expr) -> tuple[Expr, Expr]:
        """Row and column of a position of a half, the first or the second one."""
        if self.halves_rows:
            return self.first_row + line, column + side * self.width
        return self.first_row + line * 2 + side, column

    def input(self, channel: Expr, half: int, side: int, line: Expr, column: Expr) -> Expr:
        """An element of a quarter of the input."""
        row, column = self.place(side, line, column)
        down, right = self.stride
        return self.inputs[0][self.n, channel + half * self.half, row * down, column * right]

    def _add_inputs(self) -> None:
        build = self.build
        with (
            build.loop("wi", self.half) as i,
            build.loop("wr", self.lines) as line,
            build.loop("wt", self.width) as column,
        ):
            b11, b12, b21, b22 = (
                build.let("b", self.input(i, half, side, line, column))
                for half in range(2)
                for side in range(2)
            )
            t1 = build.let("t", b12 - b11)
            t2 = build.let("t", b22 - t1)
            for number, value in enumerate((t1, t2, b22 - b12, t2 - b21)):
                build.store(self.sums, (number, i, line, column), value)

    def _multiply(self, first: Expr) -> None:
        """Four results; what several of them have in common is summed once, and kept meanwhile.

        A band is passed three times, so that the weights of a pass stay in the first-level cache,
        and no register tile waits for what it has just stored.
        """
        form, build = self.form, self.build
        shape, layout = (form.at_once, self.lines * self.width), self.build.out.layout.block(1)
        u2, u3 = (
            build.scratch("u", shape, build.out.dtype, Layout.blocked(2, 0, layout))
            for _ in range(2)
        )
        for tile in self._tiles(first):
            tile.add_input(0, 0, 0)
            tile.keep(u2)
            tile.add_input(1, 1, 0)
            tile.write_result(0, 0)
        for tile in self._tiles(first):
            tile.add(u2)
            tile.add_sum(2, 1)
            tile.keep(u2)
            tile.add_sum(3, 2)
            tile.keep(u3)
            tile.add_sum(4, 3)
            tile.write_result(1, 0)
        for tile in self._tiles(first):
            tile.add_sum(5, 0)
            tile.write_result(1, 1, u3)
            tile.add(u2)
            tile.add_input(6, 1, 1)
            tile.write_result(0, 1)

    def _tiles(self, first: Expr) -> Iterator["_Tile"]:
        """An element of the register tiles of a band, within the loops over all of them."""
        build, (tile_rows, tile_columns) = self.build, self.form.tile
        for above, height, rows in _runs(self.lines, tile_rows):
            with build.loop("og", rows) as row:
                for before, length, columns in _runs(self.width, tile_columns):
                    with (
                        build.loop("ow", columns) as column,
                        build.loop("oc", self.form.at_once) as o,
                        build.loop("oh", height) as down,
                        build.loop("ot", length) as right,
                    ):
                        line = row * height + above + down
                        yield _Tile(self, first, o, line, column * length + before + right)


def _runs(extent: int, size: int) -> Iterator[tuple[int, int, int]]:
    """(start, length, how often) of nearly equal pieces of an extent."""
    start = 0
    for length, count in even_pieces(extent, size):
        yield start, length, count
        start += length * count


class _Tile:
    """Writes the sum of an element of a register tile, which begins as zero."""

    def __init__(self, band: BandWriter, first: Expr, o: Expr, line: Expr, column: Expr) -> None:
        self.band, self.build = band, band.build
        self.channel, self.line, self.column = first + o, line, column
        self.place = (o, line * band.width + column)
        dtype = self.build.out.dtype
        self.total = self.build.register("acc", dtype, Const(0.0, dtype))

    def add(self, kept: Buffer) -> None:
        """What was kept of another one."""
        self.build.store(self.total, (), self.total[()] + kept[self.place])

    def keep(self, buffer: Buffer) -> None:
        """The sum so far."""
        self.build.store(buffer, self.place, self.total[()])

    def add_input(self, product: int, half: int, side: int) -> None:
        """A product with a quarter of the input."""
        with self.build.loop("ic", self.band.half, reduces=True) as i:
            self._add(product, i, self.band.input(i, half, side, self.line, self.column))

    def add_sum(self, product: int, number: int) -> None:
        """A product with a sum of quarters."""
        with self.build.loop("is", self.band.half, reduces=True) as i:
            self._add(product, i, self.band.sums[number, i, self.line, self.column])

    def _add(self, product: int, i: Expr, value: Expr) -> None:
        weight = self.band.inputs[1][self.channel, i, product]
        self.build.store(self.total, (), Fma(weight, value, self.total[()]))

    def write_result(self, half: int, side: int, kept: Buffer | None = None) -> None:
        """The sum, and what was kept of another one, in a quarter of the result."""
        band = self.band
        channel = self.channel + half * (band.form.channels // 2)
        value = self.total[()] + kept[self.place] if kept else self.total[()]
        if band.form.bias:
            value = value + self.build.let("o", band.inputs[2][channel])
        row, column = band.place(side, self.line, self.column)
        self.build.result((band.n, channel, row, column), value)
