"""The loops of Winograd's algorithm."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from math import prod

from cnnc.base.layout import Layout
from cnnc.base.record import record
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, Fma, Load
from cnnc.ops.cook_toom import Values, transform_input, transform_output
from cnnc.ops.winograd_tiles import Band, Piece, Side, TiledAxis

_FIRST = Const(0)
MOST_VALUES = 36
"""Of a tile that is transformed in a straight line: more leave the registers anyway, and their code
is long."""


@record
class Form:
    """What the loops need to know beside the axes: see Winograd."""

    channels: int
    at_once: int
    parts: int
    pads: tuple[tuple[int, int], ...]
    bias: bool


@record
class Place:
    """A tile of some pieces: its channel and phase, its number along each axis, where it begins.

    It uses so many points along each axis.
    """

    channel: Expr
    phase: Sequence[Expr]
    tile: Sequence[Expr]
    corner: Sequence[Expr]
    used: Sequence[int]


class BandWriter:
    """Writes the loops over one band."""

    def __init__(
        self,
        op: Form,
        build: KernelBuilder,
        inputs: Sequence[Buffer],
        axes: Sequence[TiledAxis],
        band: Band,
        where: tuple[Expr, Expr, Expr],
    ) -> None:
        self.op, self.build, self.inputs = op, build, inputs
        self.axes, self.band = axes, band
        self.n, self.row, self.part = where
        x = inputs[0]
        self.pieces = [band.pieces, *(axis.pieces for axis in axes[1:])]
        self.groups = [[*axis.groups(some)] for axis, some in zip(axes, self.pieces, strict=True)]
        self.tiles = prod(sum(piece.count for piece in some) for some in self.pieces)
        self.sides = [axis.side for axis in axes]
        self.counts = [side.points for side in self.sides]
        self.points = prod(self.counts)
        layout = Layout.blocked(3, 1, x.layout.block(1))
        self.phases = prod(side.phases for side in self.sides)
        shape = (self.points, self.phases * x.shape[1], self.tiles)
        self.transformed = build.scratch("v", shape, x.dtype, layout)
        self.in_sweeps = self.points > MOST_VALUES and min(self.counts) > 1

    def write(self) -> None:
        """The transform of the input, then all channels of the result, some at once."""
        op, build = self.op, self.build
        self._transform_input()
        out = build.out
        chunks = -(-op.channels // op.at_once)
        layout = Layout.blocked(3, 1, out.layout.block(1))
        shape = (self.points, op.at_once, self.tiles)
        with build.loop("oq", chunks // op.parts) as chunk:
            summed = build.scratch("m", shape, out.dtype, layout)
            first = (self.part * (chunks // op.parts) + chunk) * op.at_once
            self._multiply(summed, first)
            self._transform_output(summed, first)

    def _transform_input(self) -> None:
        """Tiles at the end of an axis may use fewer points: they are a nest of their own."""
        build, x = self.build, self.inputs[0]
        phases = tuple(side.phases for side in self.sides) if self.phases > 1 else ()
        apart = [f"wp{axis}" for axis in range(len(phases))]
        names = ["wr", *(f"wt{axis}" for axis in range(1, len(self.axes)))]
        between = self._between("t", x) if self.in_sweeps else None
        with build.loop("wi", x.shape[1]) as channel, build.loops(apart, phases) as phase:
            each = zip(self.sides, self.pieces, strict=True)
            for pieces in product(*(_alike(side, some) for side, some in each)):
                with build.loops(names, tuple(piece.count for piece in pieces)) as steps:
                    place = self._place(channel, phase, steps, pieces)
                    if between is None:
                        self._read_tile(place)
                    else:
                        self._read_in_sweeps(place, between)

    def _read_tile(self, place: Place) -> None:
        indices = product(*map(range, place.used))
        values = {index: self._read(place, [*map(Const, index)]) for index in indices}
        self._keep(place, transform_input(values, self.counts, partial(self.build.let, "b")))

    def _read_in_sweeps(self, place: Place, between: Buffer) -> None:
        """Columns of a tile, then its rows."""
        build, (rows, columns) = self.build, place.used
        name, lane = partial(build.let, "b"), place.channel % between.shape[1]
        with build.loop("wu", columns) as column:
            line: Values = {(i, 0): self._read(place, [Const(i), column]) for i in range(rows)}
            for (i, _), value in transform_input(line, self.counts, name, (0,)).items():
                build.store(between, (column + i * columns, lane), value)
        with build.loop("ww", rows) as row:
            loads = [Load(between, (row * columns + j, lane)) for j in range(columns)]
            line = {(0, j): build.let("d", load) for j, load in enumerate(loads)}
            self._keep(place, transform_input(line, self.counts, name, (1,)), row)

    def _read(self, place: Place, index: Sequence[Expr]) -> Expr:
        """The value at a point of a tile."""
        sides = zip(self.sides, place.corner, index, self.op.pads, strict=True)
        where = [
            (corner + step * side.apart) * side.stride - before
            for side, corner, step, (before, _) in sides
        ]
        if place.phase:
            apart = zip(where, place.phase, self.sides, strict=True)
            where = [at + number * side.dilation for at, number, side in apart]
        value = self.build.padded(self.inputs[0], (self.n, place.channel, *where), 0.0)
        return self.build.let("d", value)

    def _keep(self, place: Place, made: Values, row: Expr = _FIRST) -> None:
        """Store points of a tile, or those of one row of it."""
        plane = place.channel
        if place.phase:
            phases = [side.phases for side in self.sides[1:]]
            plane = plane + _number(place.phase, phases) * self.inputs[0].shape[1]
        for index, value in made.items():
            point = _number([row + index[0], *map(Const, index[1:])], self.counts[1:])
            flat = self._flat(place.tile, index)
            self.build.store(self.transformed, (point, plane, flat), value)

    def _multiply(self, summed: Buffer, first: Expr) -> None:
        """All points that as many tiles use are one nest."""
        for group in product(*self.groups):
            points = [points for points, _ in group]
            tiles = prod(tiles for _, tiles in group)
            self._multiply_points(summed, first, points, tiles)

    def _multiply_points(
        self, summed: Buffer, first: Expr, points: Sequence[range], tiles: int
    ) -> None:
        op, build, weight = self.op, self.build, self.inputs[1]
        extents, starts = [len(some) for some in points], [some.start for some in points]
        if extents[1:] == self.counts[1:]:  # they follow each other
            extents, starts = [prod(extents)], [starts[0] * prod(self.counts[1:])]
        names = ["wy", "wx"][-len(extents) :]
        with (
            build.loops(names, tuple(extents)) as steps,
            build.loop("oc", op.at_once) as o,
            build.loop("ot", tiles) as tile,
        ):
            places = [step + start for step, start in zip(steps, starts, strict=True)]
            point = _number(places, self.counts[1:][: len(places) - 1])
            total = build.register("acc", summed.dtype, Const(0.0, summed.dtype))
            with build.loop("ic", weight.shape[1], reduces=True) as i:
                factors = weight[first + o, i, point], self.transformed[point, i, tile]
                build.store(total, (), Fma(*factors, total[()]))
            build.store(summed, (point, o, tile), total[()])

    def _transform_output(self, summed: Buffer, first: Expr) -> None:
        """Tiles at the end of an axis may have fewer results: they are a nest of their own."""
        build = self.build
        names = [f"z{axis}" for axis in range(len(self.axes))]
        between = self._between("s", build.out) if self.in_sweeps else None
        with build.loop("zo", self.op.at_once) as o:
            for pieces in product(*self.pieces):
                with build.loops(names, tuple(piece.count for piece in pieces)) as steps:
                    place = self._place(o, (), steps, pieces)
                    results = [piece.results for piece in pieces]
                    if between is None:
                        self._write_tile(summed, first, place, results)
                    else:
                        self._write_in_sweeps(summed, first, place, results, between)

    def _write_tile(
        self, summed: Buffer, first: Expr, place: Place, results: Sequence[int]
    ) -> None:
        name, indices = partial(self.build.let, "a"), product(*map(range, place.used))
        values = {index: self._sum(summed, place, index) for index in indices}
        made = transform_output(values, self.counts, self._taps, name)
        self._result(first, place, results, made)

    def _write_in_sweeps(
        self,
        summed: Buffer,
        first: Expr,
        place: Place,
        results: Sequence[int],
        between: Buffer,
    ) -> None:
        """Rows of a tile, then columns of its results."""
        build, (rows, columns) = self.build, place.used
        name, lane = partial(build.let, "a"), place.channel % between.shape[1]
        with build.loop("zu", rows) as row:
            line: Values = {(0, j): self._sum(summed, place, (0, j), row) for j in range(columns)}
            made = transform_output(line, self.counts, self._taps, name, (1,))
            for j in range(results[1]):
                build.store(between, (row * results[1] + j, lane), made[0, j])
        with build.loop("zw", results[1]) as column:
            loads = [Load(between, (column + i * results[1], lane)) for i in range(rows)]
            line = {(i, 0): build.let("s", load) for i, load in enumerate(loads)}
            made = transform_output(line, self.counts, self._taps, name, (0,))
            self._result(first, place, results, made, column)

    def _sum(self, summed: Buffer, place: Place, index: Sequence[int], row: Expr = _FIRST) -> Expr:
        """That of a point of a tile, counted from a row of it."""
        point = _number([row + index[0], *map(Const, index[1:])], self.counts[1:])
        load = Load(summed, (point, place.channel, self._flat(place.tile, index)))
        return self.build.let("s", load)

    def _result(
        self,
        first: Expr,
        place: Place,
        results: Sequence[int],
        made: Values,
        column: Expr = _FIRST,
    ) -> None:
        """Store those of a tile, or of one column of it."""
        op, build = self.op, self.build
        bias = build.let("o", self.inputs[2][first + place.channel]) if op.bias else None
        for index, value in made.items():
            if any(step >= most for step, most in zip(index, results, strict=True)):
                continue
            steps: list[Expr] = [*map(Const, index[:-1]), column + index[-1]]
            where = [
                corner + step * side.apart
                for side, corner, step in zip(self.sides, place.corner, steps, strict=True)
            ]
            total = value + bias if bias else value
            build.result((self.n, first + place.channel, *where), total)

    @property
    def _taps(self) -> list[int]:
        """Of a phase on each axis."""
        return [side.phase_taps for side in self.sides]

    def _between(self, name: str, kind: Buffer) -> Buffer:
        """Memory for a tile between its sweeps, of as many channels as are in a vector."""
        shape = (self.points, kind.layout.block(1))
        return self.build.scratch(name, shape, kind.dtype, Layout.plain(2))

    def _place(
        self,
        channel: Expr,
        phase: Sequence[Expr],
        steps: Sequence[Expr],
        pieces: Sequence[Piece],
    ) -> Place:
        """The tile that is so many steps behind the first one of the pieces."""
        tile = [step + piece.start for step, piece in zip(steps, pieces, strict=True)]
        return Place(channel, phase, tile, self._corner(tile, pieces), self._used(pieces))

    def _used(self, pieces: Sequence[Piece]) -> list[int]:
        """Points that a tile of these pieces uses on each axis."""
        each = zip(self.sides, pieces, strict=True)
        return [side.points_for(piece.results) for side, piece in each]

    def _corner(self, tile: Sequence[Expr], pieces: Sequence[Piece]) -> list[Expr]:
        """The first result of a tile of the band."""
        places = [self.row + tile[0], *tile[1:]]
        return [
            axis.position(place, at_end=piece.at_end)
            for axis, place, piece in zip(self.axes, places, pieces, strict=True)
        ]

    def _flat(self, tile: Sequence[Expr], index: Sequence[int]) -> Expr:
        """The number of a tile in its band, among those that use the point of that index."""
        extents = [
            next(tiles for points, tiles in groups if at in points)
            for groups, at in zip(self.groups[1:], index[1:], strict=True)
        ]
        return _number(tile, extents)


def _alike(side: Side, pieces: Sequence[Piece]) -> list[Piece]:
    """Pieces one behind the other together where their tiles use as many points.

    But not whole interleaved tiles and others, whose positions together have no exact bound.
    """
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if (
            last is not None
            and side.points_for(last.results) == side.points_for(piece.results)
            and (side.apart == 1 or last.at_end == piece.at_end)
        ):
            count = last.count + piece.count
            found[-1] = Piece(last.start, count, last.results, last.at_end)
        else:
            found.append(piece)
    return found


def _number(places: Sequence[Expr], extents: Sequence[int]) -> Expr:
    """The row-major number of a place, with the extents of all axes but the first."""
    number = places[0]
    for place, extent in zip(places[1:], extents, strict=True):
        number = number * extent + place
    return number
