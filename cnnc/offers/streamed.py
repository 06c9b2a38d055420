"""Layers one behind the other, some rows at a time: which, how many rows, and what that saves."""

from collections.abc import Sequence
from functools import cache
from itertools import repeat
from math import inf

from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.base.tiles import Work, choose_tile, cycles
from cnnc.ir.graph import Node
from cnnc.offers.direct import blocks_of, weight_bytes, work_of
from cnnc.ops.bands import ROWS
from cnnc.ops.spec import Operator
from cnnc.ops.streamed import Stage, Streamed, works_by_element

MOST_STAGES = 4
_BYTES = 60.0
"""Bytes a cycle between the second-level cache and what is behind it, written or read."""
_COPIED = 8.0
"""Bytes a cycle of a copy that stays in the caches."""
_MOST_BANDS = 56
_BAND = 400.0
"""Cycles that a band takes beside its work."""
_WEIGHTS = 32.0
"""Bytes a cycle of weights that each band reads again."""
_MEETING = 800.0
"""Cycles until threads have waited for each other between two layers."""
_CROSSING = 8.0
"""Bytes a cycle that a thread reads after another one wrote them."""
_SHORT_BAND = 50.0
"""Cycles that a band takes beside its work where all it touches is in the first-level cache."""
_SHORTEST = 4_000.0
"""Cycles of layers from which on threads share them at all."""
_NOTICED = 0.05
"""Of the cycles of layers, those that must be saved where only threads gain: in long layers that
is less than estimates are wrong by."""


@record
class _Whole:
    """Nodes, what each reads beside the one before it, and of all together cycles and weights."""

    nodes: Sequence[Node]
    own: Sequence[tuple[Node, ...]]
    cycles: float
    weights: int

    @property
    def flows(self) -> int:
        """Bytes of what lies between them."""
        return sum(node.type.bytes for node in self.nodes[:-1])


def stream(nodes: Sequence[Node], target: Target) -> tuple[float, Streamed] | None:
    """The stages, and the cycles they are estimated to save; None where they save none.

    Each node but the first has the one before it as its first operand. Nothing is saved of what
    flows between two stages if all of it stays in the second-level cache, or where numbers are
    computed one by one, as that takes longer than to read them. Threads that share short layers
    save what crosses between them and that they wait for each other.
    """
    if target.lanes(nodes[-1].type.dtype) == 1:
        return None
    weights = sum(map(weight_bytes, nodes))
    whole = _Whole(nodes, operands_of(nodes), sum(_cycles(node, target) for node in nodes), weights)
    stay = list(map(_stays, nodes[:-1], repeat(target)))
    if not any(stay) and weights <= target.l2_bytes // 4:
        saved, least, price = 2 * whole.flows / _BYTES, 0.0, _cost
    elif all(stay) and _may_cross(whole, target):
        crossing = whole.flows * (1 - 1 / target.cores) / _CROSSING
        saved, least, price = len(stay) * _MEETING + crossing, _NOTICED * whole.cycles, _short_cost
    else:
        return None
    rows = nodes[-1].type.shape[ROWS]
    sizes = [size for size in range(1, rows) if rows % size == 0 and rows // size <= _MOST_BANDS]
    made = [joined(nodes, size) for size in sizes]
    offers = [(saved - price(each, whole, target), each) for each in made]
    best = max(offers, key=lambda offer: offer[0], default=None)
    return best if best and best[0] > least else None


def _may_cross(whole: _Whole, target: Target) -> bool:
    """Whether threads share layers, whose weights may stay in the first-level cache."""
    shared = target.cores > 1 and whole.cycles >= _SHORTEST
    return shared and whole.weights <= target.l1_bytes


def _stays(node: Node, target: Target) -> bool:
    """Whether what a layer writes is still in the second-level cache when the next one reads it.

    An element-wise layer alone reads and writes in the order of memory, as fast as that can be: on
    one thread it is worth while for tensors only that are larger than the whole cache. Threads
    share it by channels, and the convolution behind it by rows, so that data crosses between cores.
    """
    assert isinstance(node.op, Operator)
    is_fast = works_by_element(node.op) and target.cores == 1
    return node.type.bytes <= (target.l2_bytes if is_fast else target.l2_bytes // 2)


def joined(nodes: Sequence[Node], rows: int) -> Streamed:
    """Nodes one behind the other as stages."""
    stages: list[Stage] = []
    for number, node in enumerate(nodes):
        assert isinstance(node.op, Operator)
        block = node.type.layout.block(1)
        stages.append(Stage(node.op, len(node.inputs) - bool(number), block))
    return Streamed(tuple(stages), rows)


def operands_of(nodes: Sequence[Node]) -> list[tuple[Node, ...]]:
    """What each of them reads beside the one before it."""
    return [node.inputs[bool(number) :] for number, node in enumerate(nodes)]


def _cost(made: Streamed, whole: _Whole, target: Target) -> float:
    """Cycles that bands take more than whole tensors; infinite if a band stays in no cache."""
    bands, held, more = _bands(made, whole, target)
    again = (bands - 1) * whole.weights / _WEIGHTS
    return more + again + bands * _BAND if held <= target.l2_bytes // 2 else inf


def _short_cost(made: Streamed, whole: _Whole, target: Target) -> float:
    """The same where weights stay in the first-level cache beside what a band holds."""
    bands, held, more = _bands(made, whole, target)
    stays = held + whole.weights <= target.l1_bytes * 3 // 4
    return more + bands * _SHORT_BAND if stays else inf


def _bands(made: Streamed, whole: _Whole, target: Target) -> tuple[int, int, float]:
    """How many, the bytes that one holds, and cycles of what is computed twice and of waiting."""
    kinds = [node.type.with_shape(node.type.shape) for node in whole.nodes]
    parts = made.parts(*(operand.type for each in whole.own for operand in each), types=kinds)
    bands = whole.nodes[-1].type.shape[0] * parts[0].bands
    alone = [part.node(given, "band") for part, given in zip(parts, whole.own, strict=True)]
    twice = bands * sum(_cycles(band, target) for band in alone) - whole.cycles
    turns = -(-bands // target.cores)
    idle = (turns * target.cores / bands - 1) * whole.cycles
    return bands, sum(part.result.bytes for part in parts), twice + idle / target.cores


def _cycles(node: Node, target: Target) -> float:
    """Estimated cycles of a layer that waits for no memory."""
    if blocks_of(node)[0] == 1:
        return node.type.bytes / _COPIED
    return node.type.shape[0] * _work_cycles(work_of(node), target)


@cache
def _work_cycles(work: Work, target: Target) -> float:
    return cycles(work, choose_tile(work, target))
