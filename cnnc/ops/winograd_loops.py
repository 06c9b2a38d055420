"""The loops of Winograd's algorithm."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from math import prod

from cnnc.base.layout import Layout
from cnnc.base.record import record
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, Fma, Load
from cnnc.ops.cook_toom import transform_input, transform_output
from cnnc.ops.winograd_tiles import Band, Piece, Side, TiledAxis


@record
class Form:
    """What the loops need to know beside the axes: see Winograd."""

    channels: int
    at_once: int
    parts: int
    pads: tuple[tuple[int, int], ...]
    bias: bool


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
        with (
            build.loop("wi", x.shape[1]) as channel,
            build.loops(apart, phases) as phase,
        ):
            plane: Expr = channel
            if phase:
                plane = channel + _number(phase, phases[1:]) * x.shape[1]
            each = zip(self.sides, self.pieces, strict=True)
            for pieces in product(*(_alike(side, some) for side, some in each)):
                self._read_tiles(channel, phase, plane, pieces)

    def _read_tiles(
        self, channel: Expr, phase: Sequence[Expr], plane: Expr, pieces: Sequence[Piece]
    ) -> None:
        build, x = self.build, self.inputs[0]
        names = ["wr", *(f"wt{axis}" for axis in range(1, len(self.axes)))]
        with build.loops(names, tuple(piece.count for piece in pieces)) as steps:
            tile = [step + piece.start for step, piece in zip(steps, pieces, strict=True)]
            corner = self._corner(tile, pieces)
            values = {}
            for index in product(*map(range, self._used(pieces))):
                where = [
                    (place + step * side.apart) * side.stride - before
                    for side, place, step, (before, _) in zip(
                        self.sides, corner, index, self.op.pads, strict=True
                    )
                ]
                if phase:
                    apart = zip(where, phase, self.sides, strict=True)
                    where = [place + number * side.dilation for place, number, side in apart]
                values[index] = build.let("d", build.padded(x, (self.n, channel, *where), 0.0))
            made = transform_input(values, self.counts, partial(build.let, "b"))
            for index, value in made.items():
                point = _number([*map(Const, index)], self.counts[1:])
                build.store(self.transformed, (point, plane, self._flat(tile, index)), value)

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
        with self.build.loop("zo", self.op.at_once) as o:
            for some in product(*self.pieces):
                self._write_tiles(summed, first, o, some)

    def _write_tiles(self, summed: Buffer, first: Expr, o: Expr, pieces: Sequence[Piece]) -> None:
        op, build = self.op, self.build
        names = [f"z{axis}" for axis in range(len(self.axes))]
        with build.loops(names, tuple(piece.count for piece in pieces)) as steps:
            tile = [step + piece.start for step, piece in zip(steps, pieces, strict=True)]
            values = {}
            for index in product(*map(range, self._used(pieces))):
                point = _number([*map(Const, index)], self.counts[1:])
                values[index] = build.let("s", Load(summed, (point, o, self._flat(tile, index))))
            taps = [side.phase_taps for side in self.sides]
            made = transform_output(values, self.counts, taps, partial(build.let, "a"))
            bias = build.let("o", self.inputs[2][first + o]) if op.bias else None
            corner = self._corner(tile, pieces)
            for index, value in made.items():
                if any(step >= piece.results for step, piece in zip(index, pieces, strict=True)):
                    continue
                where = [
                    place + step * side.apart
                    for side, place, step in zip(self.sides, corner, index, strict=True)
                ]
                total = value + bias if bias else value
                build.result((self.n, first + o, *where), total)

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
    """Pieces one behind the other together where their tiles use as many points."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else piece
        if found and side.points_for(last.results) == side.points_for(piece.results):
            found[-1] = Piece(last.start, last.count + piece.count, last.results)
        else:
            found.append(piece)
    return found


def _number(places: Sequence[Expr], extents: Sequence[int]) -> Expr:
    """The row-major number of a place, with the extents of all axes but the first."""
    number = places[0]
    for place, extent in zip(places[1:], extents, strict=True):
        number = number * extent + place
    return number
