"""Strassen's algorithm, for convolutions of single positions: where it is taken, in which form."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from math import prod

from cnnc.base.choice import Choice, Chosen
from cnnc.base.dtype import DType
from cnnc.base.target import Target
from cnnc.base.tiles import Tile, least_cycles
from cnnc.ir.evaluate import widen
from cnnc.ir.graph import Constant, Node, rows_at_once
from cnnc.offers.direct import blocks_of, positions_in_line, weight_bytes, work_of
from cnnc.offers.far import L3_BYTES, cycles_from_afar
from cnnc.offers.offer import Candidate, root_of
from cnnc.offers.shares import CROSSING, longest_share
from cnnc.offers.strassen_shapes import Halved, Shape, cycles_of_products, obstacle, shapes
from cnnc.ops.conv import Conv
from cnnc.ops.strassen import PRODUCTS, Strassen, mixes_alike

STRASSEN = "strassen"
GAIN = 1.04
"""How much faster it must be by the estimate: it rounds more, and its weights are larger."""
TWO_CORES = 2
"""Cores with which it must not be slower either, as each of them may have to sum all inputs."""
_SUMMED = 0.2
"""Vectors of sums of the input, and of what they are made of, that a vector unit reads or writes in
a cycle: measured on Zen 4, which has one of 512 bits, and on Zen 5, which has two."""
_MOST_PARTS = 4
"""Parts for each core at most."""
_SIZES = {"rows": 1, "at_once": 1, "tile": 2}
"""How many numbers each size of a choice has."""


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
    possible = form.shapes()
    # One thread's cycles decide about the algorithm: for any number of cores it has the same bits.
    if not possible or min(map(form.cost, possible)) * GAIN > direct:
        return None
    if form.least_work(TWO_CORES) > direct or not is_accurate(node):
        return None
    return form.made(min(possible, key=lambda shape: (form.span(shape), shape.rows)))


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
    lanes = form.layer.lanes
    shape = Shape(rows, Tile(at_once // lanes, *tile))
    why_not = obstacle(form.layer, shape, target)
    if why_not or at_once % lanes:
        raise chosen.refuse(node.name, why_not or f"channels come in blocks of {lanes}")
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
        x, lanes = node.inputs[0].type, target.lanes(node.type.dtype)
        self.samples = x.shape[0]
        blocks = node.type.channels // 2 // lanes
        self.layer = Halved(blocks, lanes, x.channels, x.dtype.bytes, *node.type.spatial)
        self.stride = _stride_of(node)

    def shapes(self) -> tuple[Shape, ...]:
        """See shapes."""
        return shapes(self.layer, self.target)

    def made(self, shape: Shape) -> Strassen:
        """The operator."""
        root, _ = root_of(self.node)
        assert isinstance(root, Conv)
        rows, tile = shape
        at_once = tile.blocks * self.layer.lanes
        parts = self._parts(shape, self.target.cores)
        sizes = (at_once, (tile.rows, tile.columns), parts, self.stride)
        return Strassen(root.channels, root.bias, rows, *sizes)

    def cost(self, shape: Shape, parts: int = 1) -> float:
        """Estimated cycles of one thread: products, and sums of the input for each part."""
        bands = self.layer.height // shape.rows
        moved = cycles_from_afar(self.weights, self.target, far=self.far)
        if self.weights > self.target.l2_bytes:
            moved += (bands - 1) * self.weights / L3_BYTES
        multiplied = cycles_of_products(self.layer, shape, self.target)
        return self.samples * (multiplied + parts * self._sums + moved)

    def span(self, shape: Shape) -> float:
        """Estimated cycles of all cores until the last is done."""
        cores = self.target.cores
        return self._span(shape, cores, self._parts(shape, cores))

    def least_work(self, cores: int) -> float:
        """The least of so many cores, without what crosses between them."""
        return min(
            self._work(shape, cores, parts)
            for shape in self.shapes()
            for parts in self._possible_parts(shape, cores)
        )

    def _span(self, shape: Shape, cores: int, parts: int) -> float:
        return self._work(shape, cores, parts) + self._crossing(shape, cores, parts)

    def _work(self, shape: Shape, cores: int, parts: int) -> float:
        tasks = self._bands(shape) * parts
        return self.cost(shape, parts) / tasks * longest_share([(tasks, 1.0)], cores) * cores

    def _crossing(self, shape: Shape, cores: int, parts: int) -> float:
        """Cycles of all cores to read what others wrote, each as much as the one with most.

        As if each had written as many neighbouring rows; several share a band by its parts.
        """
        bands = self._bands(shape)
        edges = [bands * parts * core // cores for core in range(cores + 1)]
        most = max(
            (stop - 1) // parts - start // parts + 1
            for start, stop in pairwise(edges)
            if stop > start
        )
        return max(0.0, most * cores / bands - 1) * self._read / CROSSING

    def _bands(self, shape: Shape) -> int:
        return self.samples * (self.layer.height // shape.rows)

    def _parts(self, shape: Shape, cores: int) -> int:
        """Parts with which all cores are done first: each makes the sums again."""
        possible = self._possible_parts(shape, cores)
        return min(possible, key=lambda parts: self._span(shape, cores, parts))

    def _possible_parts(self, shape: Shape, cores: int) -> list[int]:
        chunks = self.layer.blocks // shape.tile.blocks
        most = min(chunks, _MOST_PARTS * cores) if cores > 1 else 1
        return [parts for parts in range(1, most + 1) if chunks % parts == 0]

    @cached_property
    def _sums(self) -> float:
        """Cycles of a sample for four sums of the input, made of its four quarters."""
        moved = self.layer.kept(self.layer.height) + self._read / self.samples
        vectors = moved / (self.target.vector_bits // 8)
        return vectors / (_SUMMED * self.target.vector_units)

    @cached_property
    def _read(self) -> int:
        """Bytes of the input: lines of memory are read whole, with columns that are skipped."""
        in_line = positions_in_line(self.node, self.layer.lanes)
        return self.samples * self.layer.kept(self.layer.height) * min(self.stride[1], in_line)

    @cached_property
    def weights(self) -> int:
        """Bytes of the combined weights."""
        layer = self.layer
        return layer.blocks * layer.lanes * layer.depth // 2 * PRODUCTS * layer.bytes
