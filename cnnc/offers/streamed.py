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


def stream(nodes: Sequence[Node], target: Target) -> tuple[float, Streamed] | None:
    """The stages, and the cycles they are estimated to save; None where they save none.

    Each node but the first has the one before it as its first operand. Nothing is saved of what
    flows between two stages if all of it stays in the second-level cache, or where numbers are
    computed one by one, as that takes longer than to read them.
    """
    if target.lanes(nodes[-1].type.dtype) == 1:
        return None
    weights = sum(map(weight_bytes, nodes))
    flows = [node.type.bytes for node in nodes[:-1]]
    if any(map(_stays, nodes[:-1], repeat(target))) or weights > target.l2_bytes // 4:
        return None
    whole = _Whole(nodes, operands_of(nodes), sum(_cycles(node, target) for node in nodes), weights)
    saved, rows = 2 * sum(flows) / _BYTES, nodes[-1].type.shape[ROWS]
    sizes = [size for size in range(1, rows) if rows % size == 0 and rows // size <= _MOST_BANDS]
    offers = [
        (saved - cost, made)
        for made in (joined(nodes, size) for size in sizes)
        if (cost := _cost(made, whole, target)) < saved
    ]
    return max(offers, key=lambda offer: offer[0]) if offers else None


def _stays(node: Node, target: Target) -> bool:
    """Whether what a layer writes is still in the second-level cache when the next one reads it.

    An element-wise layer alone reads and writes in the order of memory, as fast as that can be: on
    one thread it is worth while for tensors only that are larger than the whole cache. Threads
    share it by channels, and the convolution behind it by rows, so that data crosses between cores.
    """
    assert isinstance(node.op, Operator)
    is_fast = works_by_element(node.op) and target.cores == 1
    return node.type.bytes <= (target.l2_bytes if is_fast else target.l2_bytes // 2)


@record
class _Whole:
    """Nodes, what each reads beside the one before it, and of all together cycles and weights."""

    nodes: Sequence[Node]
    own: Sequence[tuple[Node, ...]]
    cycles: float
    weights: int


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
    kinds = [node.type.with_shape(node.type.shape) for node in whole.nodes]
    parts = made.parts(*(operand.type for each in whole.own for operand in each), types=kinds)
    if sum(part.result.bytes for part in parts) > target.l2_bytes // 2:
        return inf
    bands = whole.nodes[-1].type.shape[0] * parts[0].bands
    alone = [part.node(given, "band") for part, given in zip(parts, whole.own, strict=True)]
    twice = bands * sum(_cycles(band, target) for band in alone) - whole.cycles
    again = (bands - 1) * whole.weights / _WEIGHTS
    turns = -(-bands // target.cores)
    idle = (turns * target.cores / bands - 1) * whole.cycles
    return twice + again + idle / target.cores + bands * _BAND


def _cycles(node: Node, target: Target) -> float:
    """Estimated cycles of a layer that waits for no memory."""
    if blocks_of(node)[0] == 1:
        return node.type.bytes / _COPIED
    return node.type.shape[0] * _work_cycles(work_of(node), target)


@cache
def _work_cycles(work: Work, target: Target) -> float:
    return cycles(work, choose_tile(work, target), target)
