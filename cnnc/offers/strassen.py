"""Strassen's algorithm, for convolutions of single positions: where it is taken, in which form."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import NamedTuple

from cnnc.base.choice import Choice, Chosen
from cnnc.base.dtype import DType
from cnnc.base.target import Target
from cnnc.base.tiles import Tile, Work, cycles, fits, keeps_waiting, least_cycles, shorten, tiles
from cnnc.ir.evaluate import widen
from cnnc.ir.graph import Constant, Node, rows_at_once
from cnnc.offers.direct import blocks_of, positions_in_line, weight_bytes, work_of
from cnnc.offers.far import L3_BYTES, cycles_from_afar
from cnnc.offers.offer import Candidate, root_of
from cnnc.offers.shares import longest_share
from cnnc.ops.conv import Conv
from cnnc.ops.strassen import PRODUCTS, Strassen, mixes_alike
from cnnc.ops.strassen_loops import halves_rows

STRASSEN = "strassen"
GAIN = 1.04
"""How much faster it must be by the estimate: it rounds more, and its weights are larger."""
FAR_GAIN = 1.06
"""The same where the net's weights do not stay in the caches, its own among them: they fill more
memory."""
TWO_CORES = 2
"""Cores with which it must not be slower either, as each of them may have to sum all inputs."""
_SUMMED = 0.2
"""Vectors of sums of the input, and of what they are made of, that a vector unit reads or writes in
a cycle: measured on Zen 4, which has one of 512 bits, and on Zen 5, which has two."""
_MOST_PARTS = 4
"""Parts for each core at most."""
_OF_A_PASS = 3
"""Products over whose weights a pass goes, at most."""
_ARRIVING = 24.0
"""Bytes of weights that arrive from the second-level cache in a cycle, beside sums of inputs from
there: measured on Zen 5, tiles of four blocks of channels."""
_TALLEST = 2
"""Rows of a register tile at most, as of those that `tiles` finds."""
_SIZES = {"rows": 1, "at_once": 1, "tile": 2}
"""How many numbers each size of a choice has."""


class Shape(NamedTuple):
    """Rows that are computed together, and a register tile of a half of them."""

    rows: int
    tile: Tile


class StrassenOffer:
    """See Offer."""

    name = STRASSEN
    rounds_more = True

    def candidates(self, node: Node, target: Target, *, far: bool) -> Iterator[Candidate]:
        """See Offer: for each number of rows the best register tile."""
        if suits(node, target) and is_accurate(node):
            form = Form(node, target, far=far)
            for shape in form.shapes():
                yield Candidate(choice_of(form.made(shape)), form.span(shape))


OFFER = StrassenOffer()


def suits(node: Node, target: Target) -> bool:
    """Whether the algorithm computes a layer whose layouts are assigned.

    Of f32 only: weights are summed in float64, which is as good as exact there. Rows of the result
    or their columns can be halved, and halves of the channels are whole vectors.
    """
    root, operands = root_of(node)
    if not isinstance(root, Conv) or target.is_small or target.is_gpu:
        return False
    x, lanes = operands[0].type, target.lanes(node.type.dtype)
    if x.dtype is not DType.F32 or len(x.spatial) != 2 or not operands[1].is_constant:
        return False
    window = root.window(x)
    is_pointwise = {*window.kernel} == {1} and not any(map(any, window.pads))
    is_even = any(extent % 2 == 0 for extent in node.type.spatial) and not any(
        channels % (2 * lanes) for channels in (x.channels, root.channels)
    )
    is_blocked = lanes > 1 and blocks_of(node) == (lanes, lanes)
    return is_pointwise and root.groups == 1 and is_even and is_blocked


def is_accurate(node: Node) -> bool:
    """Whether a layer's weights let it be: see `mixes_alike`."""
    weight = node.inputs[1].op
    if not isinstance(weight, Constant):
        return False
    return mixes_alike(map(widen, weight.parts(rows_at_once(node.inputs[1].type.shape))))


def choice_of(op: Strassen) -> Choice:
    """The operator as a choice, without its parts: these follow from the number of cores."""
    sizes = {"rows": (op.rows,), "at_once": (op.channels_at_once,), "tile": op.register_tile}
    return Choice(STRASSEN, tuple(sizes.items()))


def choose_strassen(node: Node, target: Target, *, far: bool) -> Strassen | None:
    """The fastest form by estimate, or None where the layer gains too little.

    `far` says that the net's weights come from memory.
    """
    if not suits(node, target):
        return None
    form = Form(node, target, far=far)
    direct = _direct_cost(node, target, far=far)
    shapes = tuple(form.shapes())
    # One thread's cycles decide about the algorithm: for any number of cores it has the same bits.
    if not shapes or min(map(form.cost, shapes)) * (FAR_GAIN if far else GAIN) > direct:
        return None
    if min(form.span(shape, TWO_CORES) for shape in shapes) > direct or not is_accurate(node):
        return None
    return form.made(min(shapes, key=lambda shape: (form.span(shape), shape.rows)))


def _direct_cost(node: Node, target: Target, *, far: bool) -> float:
    """Estimated cycles of the convolution itself, with all positions as one row if that is best.

    Lines of memory that two tiles read are left out, as they are for the algorithm's products.
    """
    work = replace(work_of(node, target), in_line=1)
    flat = replace(work, spatial=(prod(work.spatial),))
    products = min(least_cycles(each, target) for each in (work, *[flat] * (not work.strided)))
    moved = cycles_from_afar(weight_bytes(node), target, far=far)
    return node.type.shape[0] * (products + moved)


def read_choice(chosen: Chosen, node: Node, target: Target) -> Strassen:
    """The operator that was chosen for a layer; UserError where it is not possible."""
    if not suits(node, target):
        why = (
            "it needs a 1×1 convolution of f32 on two axes, in one group, without padding, with an "
            "even number of rows or columns of the result and of vectors of channels"
        )
        raise chosen.refuse(node.name, why)
    if not is_accurate(node):
        raise chosen.refuse(node.name, "its weights are too unlike in size, or too large")
    sizes = dict(chosen.choice.sizes)
    if {name: len(numbers) for name, numbers in sizes.items()} != _SIZES:
        raise chosen.refuse(node.name, "it needs rows, at_once and tile, as in tile=2x7")
    form = Form(node, target, far=False)
    (rows,), (at_once,), tile = (sizes[name] for name in _SIZES)
    shape = Shape(rows, Tile(at_once // form.lanes, *tile))
    obstacle = form.obstacle(shape)
    if obstacle or at_once % form.lanes:
        raise chosen.refuse(node.name, obstacle or f"channels come in blocks of {form.lanes}")
    return form.made(shape)


def _stride_of(node: Node) -> tuple[int, int]:
    root, operands = root_of(node)
    assert isinstance(root, Conv)
    down, right = root.window(operands[0].type).stride
    return down, right


class Form:
    """The algorithm for a layer."""

    def __init__(self, node: Node, target: Target, *, far: bool) -> None:
        self.node, self.target, self.far = node, target, far
        self.x, self.lanes = node.inputs[0].type, target.lanes(node.type.dtype)
        self.samples, self.depth = self.x.shape[:2]
        self.height, self.width = node.type.spatial
        self.halves_rows = halves_rows(self.width)
        self.half_width = self.width // 2 if self.halves_rows else self.width
        self.stride = _stride_of(node)
        self.blocks = node.type.channels // 2 // self.lanes

    def work(self, lines: int) -> Work:
        """A product of so many lines: over half of the channels, for half of the result's."""
        bytes_of_block = self.lanes * self.x.dtype.bytes
        return Work(
            *(self.blocks, (lines, self.half_width), self.depth // 2),
            per_channel=False,
            read_block=self.lanes,
            near=self.target.l1_bytes // bytes_of_block // _OF_A_PASS,
            arrival=bytes_of_block / _ARRIVING,
        )

    def lines(self, rows: int) -> int:
        """Rows of a half of so many."""
        return rows if self.halves_rows else rows // 2

    def shapes(self) -> Iterator[Shape]:
        """For each number of rows whose sums stay in the second-level cache the best tile.

        Bands have the same number of rows: of a prime number each row is one, or all are.
        """
        fewest = 1 if self.halves_rows else 2
        possible = [each for each in tiles(self.work(_TALLEST), self.target) if self._divides(each)]
        for rows in range(fewest, self.height + 1, fewest):
            lines = self.lines(rows)
            if self.height % rows == 0 and self._kept(rows) <= self.target.l2_bytes:
                whole = [each for each in possible if each.rows <= lines]
                work = self.work(lines)
                if whole:
                    yield Shape(rows, self._best(whole, work))

    def _best(self, possible: Sequence[Tile], work: Work) -> Tile:
        """Of tiles; what stores cost is no part of `cost`, nor of that of the convolution."""
        best = min(possible, key=lambda each: cycles(work, each, self.target))
        waits = keeps_waiting(_OF_A_PASS * work.steps, self.target)
        return shorten(best, work, self.target) if waits else best

    def obstacle(self, shape: Shape) -> str | None:
        """Why the layer cannot have the shape, or None."""
        rows, tile = shape
        lines = self.lines(rows)
        if not self.halves_rows and rows % 2:
            return f"{self.height} rows are not bands of pairs"
        if rows < 1 or self.height % rows:
            return f"{self.height} rows are not bands of {rows}"
        if not self._divides(tile):
            return f"half of the result has {self.blocks} blocks of {self.lanes} channels"
        if not 0 < tile.columns <= self.half_width:
            return f"half of a row has {self.half_width} columns"
        if not 0 < tile.rows <= min(lines, _TALLEST):
            return f"a tile of such a band has {min(lines, _TALLEST)} rows at most"
        if not fits(tile, self.work(lines), self.target):
            return f"the tile does not fit {self.target.vector_registers} registers"
        return None

    def made(self, shape: Shape) -> Strassen:
        """The operator."""
        root, _ = root_of(self.node)
        assert isinstance(root, Conv)
        rows, tile = shape
        at_once = tile.blocks * self.lanes
        parts = self._parts(shape, self.target.cores)
        sizes = (at_once, (tile.rows, tile.columns), parts, self.stride)
        return Strassen(root.channels, root.bias, rows, *sizes)

    def cost(self, shape: Shape, parts: int = 1) -> float:
        """Estimated cycles of one thread: products, and sums of the input for each part."""
        rows, tile = shape
        work = self.work(self.lines(rows))
        products = PRODUCTS * self.height // rows * cycles(work, tile, self.target)
        moved = cycles_from_afar(self.weights, self.target, far=self.far)
        if self.weights > self.target.l2_bytes:
            moved += (self.height // rows - 1) * self.weights / L3_BYTES
        return self.samples * (products + parts * self._sums + moved)

    def span(self, shape: Shape, cores: int = 0) -> float:
        """Estimated cycles of all cores, those of the target or so many, until the last is done."""
        cores = cores or self.target.cores
        return self._span(shape, cores, self._parts(shape, cores))

    def _span(self, shape: Shape, cores: int, parts: int) -> float:
        tasks = self.samples * parts * (self.height // shape.rows)
        return self.cost(shape, parts) / tasks * longest_share([(tasks, 1.0)], cores) * cores

    def _parts(self, shape: Shape, cores: int) -> int:
        """Parts with which all cores are done first: each makes the sums again."""
        chunks = self.blocks // shape.tile.blocks
        most = min(chunks, _MOST_PARTS * cores) if cores > 1 else 1
        possible = [parts for parts in range(1, most + 1) if chunks % parts == 0]
        return min(possible, key=lambda parts: self._span(shape, cores, parts))

    def _divides(self, tile: Tile) -> bool:
        return tile.blocks > 0 and self.blocks % tile.blocks == 0

    @cached_property
    def _sums(self) -> float:
        """Cycles for four sums of the input, made of its four quarters.

        Lines of memory are read whole, with columns that are skipped.
        """
        moved = self._kept(self.height) * (1 + min(self.stride[1], self._in_line))
        vectors = moved / (self.target.vector_bits // 8)
        return vectors / (_SUMMED * self.target.vector_units)

    @cached_property
    def _in_line(self) -> int:
        return positions_in_line(self.node, self.lanes)

    @cached_property
    def weights(self) -> int:
        """Bytes of the combined weights."""
        return self.blocks * self.lanes * self.depth // 2 * PRODUCTS * self.x.dtype.bytes

    def _kept(self, rows: int) -> int:
        """Bytes of a band's sums."""
        return self.depth * rows * self.width * self.x.dtype.bytes
