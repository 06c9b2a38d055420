"""Strassen's algorithm, for convolutions of single positions: where it is taken, in which form."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import NamedTuple

from cnnc.base.choice import Choice, Chosen
from cnnc.base.dtype import DType
from cnnc.base.target import Target
from cnnc.base.tiles import Tile, Work, cycles, fits, least_cycles, tiles
from cnnc.ir.evaluate import widen
from cnnc.ir.graph import Constant, Node
from cnnc.offers.direct import blocks_of, positions_in_line, weight_bytes, work_of
from cnnc.offers.far import L3_BYTES, cycles_from_afar
from cnnc.offers.offer import Candidate, root_of
from cnnc.offers.shares import longest_share
from cnnc.ops.conv import Conv
from cnnc.ops.strassen import PRODUCTS, Strassen, mixes_alike

STRASSEN = "strassen"
GAIN = 1.04
"""How much faster it must be by the estimate: it rounds more, and its weights are larger."""
TWO_CORES = 2
"""Cores with which it must not be slower either, as each of them may have to sum all inputs."""
_SUMMED = 12.8
"""Bytes of sums of the input, and of what they are made of, read or written in a cycle."""
_MOST_PARTS = 4
"""Parts for each core at most."""


class Shape(NamedTuple):
    """Rows that are computed together, and a register tile."""

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
    come in pairs, and halves of the channels are whole vectors.
    """
    root, operands = root_of(node)
    if not isinstance(root, Conv) or target.is_small or target.is_gpu:
        return False
    x, lanes = operands[0].type, target.lanes(node.type.dtype)
    if x.dtype is not DType.F32 or len(x.spatial) != 2 or not operands[1].is_constant:
        return False
    window = root.window(x)
    is_pointwise = {*window.kernel} == {1} and not any(map(any, window.pads))
    is_even = node.type.spatial[0] % 2 == 0 and not any(
        channels % (2 * lanes) for channels in (x.channels, root.channels)
    )
    is_blocked = lanes > 1 and blocks_of(node) == (lanes, lanes)
    return is_pointwise and root.groups == 1 and is_even and is_blocked


def is_accurate(node: Node) -> bool:
    """Whether a layer's weights let it be: see `mixes_alike`."""
    weight = node.inputs[1].op
    return isinstance(weight, Constant) and mixes_alike(widen(weight.value))


def choice_of(op: Strassen) -> Choice:
    """The operator as a choice, without its parts: these follow from the number of cores."""
    sizes = {"rows": op.rows, "at_once": op.channels_at_once, "columns": op.columns}
    return Choice(STRASSEN, tuple((name, (size,)) for name, size in sizes.items()))


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
    if not shapes or min(map(form.cost, shapes)) * GAIN > direct:
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
    names = ("rows", "at_once", "columns")
    sizes = {name: numbers[0] for name, numbers in chosen.choice.sizes if len(numbers) == 1}
    if not suits(node, target):
        why = (
            "it needs a 1×1 convolution of f32 on two axes, in one group, without padding, with an "
            "even number of rows of the result and of vectors of channels"
        )
        raise chosen.refuse(node.name, why)
    if not is_accurate(node):
        raise chosen.refuse(node.name, "its weights are too unlike in size, or too large")
    if sizes.keys() != set(names):
        raise chosen.refuse(node.name, f"it needs {', '.join(names)}")
    form = Form(node, target, far=False)
    shape = Shape(sizes["rows"], Tile(sizes["at_once"] // form.lanes, 1, sizes["columns"]))
    obstacle = form.obstacle(shape)
    if obstacle or sizes["at_once"] % form.lanes:
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
        self.stride = _stride_of(node)
        self.blocks = node.type.channels // 2 // self.lanes

    @cached_property
    def work(self) -> Work:
        """A product of a row: over half of the channels, for half of those of the result."""
        steps = self.depth // 2
        return Work(self.blocks, (self.width,), steps, per_channel=False, read_block=self.lanes)

    def shapes(self) -> Iterator[Shape]:
        """For each number of rows whose sums stay in the second-level cache the best tile."""
        possible = [tile for tile in tiles(self.work, self.target) if self._divides(tile)]
        if not possible:
            return
        tile = min(possible, key=lambda each: cycles(self.work, each, self.target))
        for rows in range(2, self.height + 1, 2):
            if self.height % rows == 0 and (rows == 2 or self._kept(rows) <= self.target.l2_bytes):
                yield Shape(rows, tile)

    def obstacle(self, shape: Shape) -> str | None:
        """Why the layer cannot have the shape, or None."""
        rows, tile = shape
        if rows < 2 or rows % 2 or self.height % rows:
            return f"{self.height} rows are not bands of pairs"
        if not self._divides(tile):
            return f"half of the result has {self.blocks} blocks of {self.lanes} channels"
        if not 0 < tile.columns <= self.width:
            return f"a row has {self.width} columns"
        if not fits(tile, self.work, self.target):
            return f"the tile does not fit {self.target.vector_registers} registers"
        return None

    def made(self, shape: Shape) -> Strassen:
        """The operator."""
        root, _ = root_of(self.node)
        assert isinstance(root, Conv)
        rows, tile = shape
        at_once = tile.blocks * self.lanes
        parts = self._parts(shape, self.target.cores)
        columns, stride = tile.columns, self.stride
        return Strassen(root.channels, root.bias, rows, at_once, columns, parts, stride)

    def cost(self, shape: Shape, parts: int = 1) -> float:
        """Estimated cycles of one thread: products, and sums of the input for each part."""
        rows, tile = shape
        products = PRODUCTS * self.height / 2 * cycles(self.work, tile, self.target)
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
        return tile.rows == 1 and tile.blocks > 0 and self.blocks % tile.blocks == 0

    @cached_property
    def _sums(self) -> float:
        """Cycles for four sums of the input, made of its four quarters.

        Lines of memory are read whole, with columns that are skipped.
        """
        written = self._kept(self.height)
        return written * (1 + min(self.stride[1], self._in_line)) / _SUMMED

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
