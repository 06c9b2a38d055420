"""Winograd's algorithm, for windows of few taps: where it is taken, and in which form."""

from collections.abc import Iterator
from functools import cache
from math import prod

from cnnc.base.choice import Choice, Chosen
from cnnc.base.dtype import DType
from cnnc.base.target import Target
from cnnc.base.tiles import Tile
from cnnc.ir.graph import Graph, Node
from cnnc.ir.types import TensorType
from cnnc.offers.far import are_far, cycles_from_afar
from cnnc.offers.offer import Candidate, root_of
from cnnc.offers.winograd_forms import LARGEST_WEIGHTS, Form, Shape, points_of
from cnnc.ops.conv import Conv
from cnnc.ops.winograd import Winograd

WINOGRAD = "winograd"
GAIN = 1.1
"""How much faster it must be by the estimate: it rounds more, and its weights are larger."""
STRIDED_GAIN = 1.5
"""The same with a stride: weights become seven times as large and more."""
FINE_TILES = 6
"""Points of a tile along each axis of which several form a choice by time alone."""
COARSE_GAIN = 1.15
"""How much faster larger tiles must be than those: they round four to five times as much (see
docs/numerics.md)."""
FAR_GAIN = 1.05
"""How much faster the larger of two tiles must be where weights come from memory: those of F(4, 3)
are 2.25 times as large as those of F(2, 3), and cores share what arrives."""
MANY_CORES = (2, 4, 8)
"""Cores with which larger tiles must not be slower either, as there are fewer of them to share."""
MEASURED_WIDTHS = 2
"""Widths of a register tile that are worth measuring."""


class WinogradOffer:
    """See Offer."""

    name = WINOGRAD
    rounds_more = True

    def candidates(self, node: Node, target: Target, *, far: bool) -> Iterator[Candidate]:
        """See Offer: tiles of any size, and for each number of rows the best register tiles."""
        root, operands = root_of(node)
        if not (isinstance(root, Conv) and suits(root, operands, target)):
            return
        x = TensorType.plain(operands[0].type.shape, operands[0].type.dtype)
        for points in points_of(root, x, target):
            form = Form(root, x, target, points)
            if form.weights > LARGEST_WEIGHTS:
                continue
            for shape in form.shapes(MEASURED_WIDTHS):
                yield Candidate(choice_of(form.made(shape, far)), form.span(shape, far))


OFFER = WinogradOffer()


def suits(op: Conv, operands: tuple[Node, ...], target: Target) -> bool:
    """Whether the algorithm computes this convolution of these operands, in whole vectors.

    That of f32 only: weights are transformed in float64, which is as good as exact there.
    """
    x, weight = operands[0].type, operands[1]
    plain = bool(points_of(op, x, target))
    known = weight.is_constant and x.dtype is DType.F32
    lanes = target.lanes(x.dtype)
    wide = lanes > 1 and min(x.channels, op.channels) > lanes // 2
    return plain and known and wide and op.groups == 1 and len(x.spatial) <= 2


def choice_of(op: Winograd) -> Choice:
    """The operator as a choice, without its parts: these follow from the number of cores."""
    sizes = {
        "points": max(op.tile),
        "rows": op.rows,
        "at_once": op.channels_at_once,
        "columns": op.columns,
    }
    return Choice(WINOGRAD, tuple((name, (size,)) for name, size in sizes.items()))


def read_choice(chosen: Chosen, op: Conv, node: Node, target: Target) -> Winograd:
    """The operator that was chosen for a convolution; UserError where it is not possible."""
    sizes = {name: numbers[0] for name, numbers in chosen.choice.sizes if len(numbers) == 1}
    names, x = ("points", "rows", "at_once", "columns"), node.inputs[0].type
    if sizes.keys() != set(names) or sizes["points"] not in points_of(op, x, target):
        possible = " or ".join(map(str, points_of(op, x, target)))
        raise chosen.refuse(node.name, f"it needs {', '.join(names)}; points are {possible}")
    form = Form(op, x, target, sizes["points"])
    blocks = sizes["at_once"] // form.lanes
    shape = Shape(sizes["rows"], Tile(blocks, 1, sizes["columns"]))
    why = form.obstacle(shape)
    if why or sizes["at_once"] % form.lanes:
        raise chosen.refuse(node.name, why or f"channels come in blocks of {form.lanes}")
    return form.made(shape, far=False)


def are_transformed_far(graph: Graph, target: Target) -> bool:
    """Whether a net's weights come from memory once those are transformed that would be if not.

    A net may fit the caches as it is written, and no longer with several times the weights.
    """
    if are_far(graph, target):
        return True
    more = 0
    for node in graph.nodes:
        if isinstance(node.op, Conv) and suits(node.op, node.inputs, target):
            x = node.inputs[0].type
            made = choose_winograd(node.op, x, target, far=False)
            if made is not None:
                form = Form(node.op, x, target, max(made.tile))
                more += form.weights - node.inputs[1].type.bytes
    return are_far(graph, target, more)


def choose_winograd(op: Conv, x: TensorType, target: Target, far: bool) -> Winograd | None:
    """The fastest form by estimate, or None where the convolution itself is as fast.

    `far` is said of the whole net (see `are_transformed_far`).
    """
    return _chosen(op, x, target, far)[0]


def winograd_gain(op: Conv, x: TensorType, target: Target, far: bool) -> float:
    """How many times as long the convolution itself would take; 1 where it is as fast."""
    return _chosen(op, x, target, far)[1]


@cache
def _chosen(op: Conv, x: TensorType, target: Target, far: bool) -> tuple[Winograd | None, float]:
    """The fastest form, and what is gained."""
    forms = _forms(op, x, target)
    fine = [form for form in forms if form.points <= FINE_TILES]
    if not fine:
        return None, 1.0
    # One thread's cost decides about the algorithm: for any number of cores it gives the same bits.
    best = fine[0]
    for form in fine[1:]:
        if form.least_cost(far) * (FAR_GAIN if far else 1.0) < best.least_cost(far):
            best = form
    fastest = min(fine, key=lambda form: form.least_cost(far))
    for form in forms:
        if form.points > FINE_TILES and _is_much_faster(form, fastest, far):
            best = form
    gain = STRIDED_GAIN if max(op.window(x).stride) > 1 else GAIN
    direct, cost = _direct_cost(op, x, target, far), best.least_cost(far)
    if cost * gain >= direct:
        return None, 1.0
    shape = min(best.best_shapes, key=lambda shape: best.span(shape, far))
    return best.made(shape, far), direct / cost


@cache
def _forms(op: Conv, x: TensorType, target: Target) -> list[Form]:
    """Those that take no more memory than they may."""
    forms = [Form(op, x, target, points) for points in points_of(op, x, target)]
    return [form for form in forms if form.weights <= LARGEST_WEIGHTS and form.best_shapes]


def _is_much_faster(coarse: Form, fine: Form, far: bool) -> bool:
    """Whether larger tiles gain so much that they may round more; with many cores, too."""

    def span(form: Form, cores: int) -> float:
        return min(form.span(shape, far, cores) for shape in form.best_shapes)

    gains = coarse.least_cost(far) * COARSE_GAIN <= fine.least_cost(far)
    return gains and all(span(coarse, cores) <= span(fine, cores) for cores in MANY_CORES)


def _direct_cost(op: Conv, x: TensorType, target: Target, far: bool) -> float:
    """Estimated cycles of the convolution itself, at nine tenths of the peak."""
    lanes, window = target.lanes(x.dtype), op.window(x)
    taps, blocks = prod(window.kernel), -(-op.channels // lanes)
    macs = prod(window.out) * blocks * x.channels * taps
    products = macs / target.vector_units / 0.9
    weights = taps * x.channels * blocks * lanes * x.dtype.bytes
    return x.shape[0] * (products + cycles_from_afar(weights, target, far=far))
