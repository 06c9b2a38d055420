"""Layers one behind the other, some rows at a time: which, how many rows, and what that saves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise, repeat
from math import inf
from types import MappingProxyType

from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.ir.graph import Node
from cnnc.offers.direct import blocks_of, direct_cycles, weight_bytes
from cnnc.offers.rows import lies_in_rows, rows_cycles
from cnnc.offers.shares import CROSSING
from cnnc.ops.bands import ROWS, Part
from cnnc.ops.runs import between, have_gaps
from cnnc.ops.spec import Operator
from cnnc.ops.streamed import Stage, Streamed, works_by_element
from cnnc.ops.strips import can_have_strips, in_strips, rows_between

MOST_STAGES = 5
_BYTES = 60.0
"""Bytes a cycle between the second-level cache and what is behind it, written or read."""
_COPIED = 8.0
"""Bytes a cycle of a copy that stays in the caches."""
_NEAR = 32.0
"""Bytes a cycle that come from the second-level cache."""
_ROW = 100.0
"""Cycles that a row of a strip takes beside its work."""
_STRIPS = (1, 2, 3, 4)
"""Blocks of channels that a strip may have."""
_MOST_BANDS = 56
_BAND = 400.0
"""Cycles that a band takes beside its work."""
_WEIGHTS = 32.0
"""Bytes a cycle of weights that each band reads again."""
_MEETING = 800.0
"""Cycles until threads have waited for each other between two layers."""
_MUCH = 2
"""How many times larger than the second-level cache some tensor must be for bands that keep rows:
what is hardly larger arrives in time from behind it."""
_WORTH = 0.005
"""Of the cycles of layers, those that such bands must save. What they cost is known better than
what is saved, which in minutes when others use the memory is several times as much."""
_MOST_RUNS = 4
"""Runs for each core at most."""
_SHORT_BAND = 50.0
"""Cycles that a band takes beside its work where all it touches is in the first-level cache."""
_SHORTEST = 4_000.0
"""Cycles of layers from which on threads share them at all."""
_NOTICED = 0.05
"""Of the cycles of layers, those that must be saved where only threads gain: in long layers that
is less than estimates are wrong by."""


@record
class _Bands:
    """The stages for bands of so many rows: `count` bands."""

    rows: int
    parts: Sequence[Part]
    count: int


class _Whole:
    """Nodes, what each reads beside the one before it, and of all together cycles and weights."""

    def __init__(self, nodes: Sequence[Node], target: Target) -> None:
        self.nodes, self.target = nodes, target
        self.own = operands_of(nodes)
        self.cycles = sum(_cycles(node, target) for node in nodes)
        self.weights = sum(map(weight_bytes, nodes))
        self._types = [node.type.with_shape(node.type.shape) for node in nodes]
        self._bands: dict[int, _Bands] = {}
        self._cycles: dict[int, list[float]] = {}

    @property
    def flows(self) -> int:
        """Bytes of what lies between them."""
        return sum(node.type.bytes for node in self.nodes[:-1])

    @property
    def beyond(self) -> float:
        """Cycles for what lies between them and does not stay in the second-level cache."""
        flows = (node.type.bytes for node in self.nodes[:-1] if not _stays(node, self.target))
        return sum(2 * flow / _BYTES for flow in flows)

    @property
    def sizes(self) -> list[int]:
        """Rows that a band may have: they divide those of the result."""
        rows = self.nodes[-1].type.shape[ROWS]
        return [n for n in range(1, rows + 1) if rows % n == 0 and rows // n <= _MOST_BANDS]

    def bands(self, rows: int) -> _Bands:
        """All in bands of so many rows."""
        if rows not in self._bands:
            given = (operand.type for each in self.own for operand in each)
            parts = joined(self.nodes, rows).parts(*given, types=self._types)
            count = self.nodes[-1].type.shape[0] * parts[0].bands
            self._bands[rows] = _Bands(rows, parts, count)
        return self._bands[rows]

    def turns(self, rows: int) -> Sequence[Part]:
        """The parts of bands of so many rows that keep rows for the next one."""
        given = (operand.type for each in self.own for operand in each)
        return joined(self.nodes, rows, runs=1).parts(*given, types=self._types)

    def cycles_of(self, bands: _Bands) -> list[float]:
        """Cycles of each part of one band."""
        if bands.rows not in self._cycles:
            found = [self.part_cycles(part, number) for number, part in enumerate(bands.parts)]
            self._cycles[bands.rows] = found
        return self._cycles[bands.rows]

    def part_cycles(self, part: Part, number: int) -> float:
        """Cycles of a part of the node of this number."""
        return _cycles(part.node(self.own[number], "part"), self.target)

    def idle(self, tasks: int) -> float:
        """Cycles for which cores wait for the one that is last, where they share so many tasks."""
        turns = -(-tasks // self.target.cores)
        return (turns * self.target.cores / tasks - 1) * self.cycles / self.target.cores


def stream(nodes: Sequence[Node], target: Target) -> tuple[float, Streamed] | None:
    """The stages, and the cycles they are estimated to save; None where they save none.

    Each node but the first has the one before it as its first operand. Nothing is saved where
    numbers are computed one by one, as that takes longer than to read them.
    """
    if target.lanes(nodes[-1].type.dtype) == 1:
        return None
    whole = _Whole(nodes, target)
    found = [
        *_band_offers(whole, target),
        *_run_offers(whole, target),
        *_strip_offers(whole, target),
    ]
    return max(found, key=lambda offer: offer[0], default=None)


def _band_offers(whole: _Whole, target: Target) -> Iterator[tuple[float, Streamed]]:
    """What is saved by all of a band for each stage, where it is something.

    Nothing is of what flows between two stages if all of it stays in the second-level cache.
    Threads that share short layers save what crosses between them and that they wait for each
    other.
    """
    stay = list(map(_stays, whole.nodes[:-1], repeat(target)))
    if not any(stay) and whole.weights <= target.l2_bytes // 4:
        saved, least, price = 2 * whole.flows / _BYTES, 0.0, _cost
    elif all(stay) and _may_cross(whole, target):
        crossing = whole.flows * (1 - 1 / target.cores) / CROSSING
        saved, least, price = len(stay) * _MEETING + crossing, _NOTICED * whole.cycles, _short_cost
    else:
        return
    for rows in whole.sizes[:-1]:
        if (gain := saved - price(whole.bands(rows), whole, target)) > least:
            yield gain, joined(whole.nodes, rows)


def _may_cross(whole: _Whole, target: Target) -> bool:
    """Whether threads share layers, whose weights may stay in the first-level cache."""
    shared = target.cores > 1 and whole.cycles >= _SHORTEST
    return shared and whole.weights <= target.l1_bytes


def _stays(node: Node, target: Target) -> bool:
    """Whether what a layer writes is still in the second-level cache when the next one reads it.

    An element-wise layer alone reads and writes in the order of memory, as fast as that can be: on
    one thread it is worth while for tensors only that are larger than the whole cache. Threads wait
    for each other between two layers, and may share them differently.
    """
    assert isinstance(node.op, Operator)
    is_fast = works_by_element(node.op) and target.cores == 1
    return node.type.bytes <= (target.l2_bytes if is_fast else target.l2_bytes // 2)


def joined(
    nodes: Sequence[Node],
    rows: int,
    strips: Mapping[int, int] = MappingProxyType({}),
    runs: int = 0,
) -> Streamed:
    """Nodes one behind the other as stages; of some, so many blocks of channels make a strip."""
    stages: list[Stage] = []
    for number, node in enumerate(nodes):
        assert isinstance(node.op, Operator)
        block = node.type.layout.block(1)
        operands = len(node.inputs) - bool(number)
        stages.append(Stage(node.op, operands, block, strips.get(number, 0)))
    return Streamed(tuple(stages), rows, runs)


def operands_of(nodes: Sequence[Node]) -> list[tuple[Node, ...]]:
    """What each of them reads beside the one before it."""
    return [node.inputs[bool(number) :] for number, node in enumerate(nodes)]


def _cost(bands: _Bands, whole: _Whole, target: Target) -> float:
    """Cycles that bands take more than whole tensors; infinite if a band stays in no cache."""
    if sum(part.result.bytes for part in bands.parts) > target.l2_bytes // 2:
        return inf
    return _more(bands, whole) + (bands.count - 1) * whole.weights / _WEIGHTS + bands.count * _BAND


def _short_cost(bands: _Bands, whole: _Whole, target: Target) -> float:
    """The same where weights stay in the first-level cache beside what a band holds."""
    held = sum(part.result.bytes for part in bands.parts)
    if held + whole.weights > target.l1_bytes * 3 // 4:
        return inf
    return _more(bands, whole) + bands.count * _SHORT_BAND


def _more(bands: _Bands, whole: _Whole) -> float:
    """Cycles of what is computed twice and of waiting."""
    again = bands.count * sum(whole.cycles_of(bands)) - whole.cycles
    return again + whole.idle(bands.count)


def _run_offers(whole: _Whole, target: Target) -> Iterator[tuple[float, Streamed]]:
    """What is saved by bands of which each keeps rows for the next one, where it is something.

    That is what would not stay in the second-level cache. Rows that only the first band of a run
    needs are computed for each run.
    """
    largest = max(node.type.bytes for node in whole.nodes[:-1])
    if largest <= _MUCH * target.l2_bytes or whole.weights > target.l2_bytes // 4:
        return
    samples, least = whole.nodes[-1].type.shape[0], _WORTH * whole.cycles
    if have_gaps(whole.bands(whole.sizes[-1]).parts):
        return
    for rows in whole.sizes[:-1]:
        parts = whole.turns(rows)
        held = sum(kind.bytes for kind in between(parts))
        if held > target.l2_bytes // 2 or not any(part.writes.before for part in parts):
            continue
        bands, turn, early = parts[0].bands, _BAND, 0.0
        for number, part in enumerate(parts):
            row = whole.part_cycles(part, number) / part.result.shape[ROWS]
            turn += row * part.writes.count
            early += row * part.writes.before
        again = (samples * bands - 1) * whole.weights / _WEIGHTS
        for runs in _run_counts(bands, target):
            price = samples * (bands * turn + runs * early) - whole.cycles + again
            price += whole.idle(samples * runs) * target.cores
            if (gain := whole.beyond - price) > least:
                yield gain, joined(whole.nodes, rows, runs=runs)


def _run_counts(bands: int, target: Target) -> Iterator[int]:
    """How many runs bands may make: one of a single band would keep nothing."""
    most = 1 if target.cores == 1 else min(_MOST_RUNS * target.cores, bands // 2)
    return (runs for runs in range(1, most + 1) if bands % runs == 0)


def _strip_offers(whole: _Whole, target: Target) -> Iterator[tuple[float, Streamed]]:
    """What is saved by strips of a stage and the next one, where it is something.

    A depthwise stage that reads more than it computes waits for the second-level cache otherwise.
    What threads save that need not wait for each other between stages is left out.
    """
    nodes, limit = whole.nodes, target.l2_bytes // 2
    for at, (first, second) in enumerate(pairwise(nodes)):
        assert isinstance(first.op, Operator)
        assert isinstance(second.op, Operator)
        if not can_have_strips(first.op, first.type, second.op):
            continue
        saved = whole.beyond + max(0.0, first.type.bytes / _NEAR - _cycles(second, target))
        near = partial(_stays_near, first=first, second=second, target=target)
        few = [rows for rows in whole.sizes if _held(whole.bands(rows), at, whole) <= limit]
        for strip in filter(near, _STRIPS if saved and few else ()):
            price = _strip_price(at, strip, whole)
            for rows in few:
                if (gain := saved - price(whole.bands(rows))) > 0:
                    yield gain, joined(nodes, rows, {at: strip})


def _held(bands: _Bands, at: int, whole: _Whole) -> int:
    """Bytes of a band that are read again for each strip of a stage, and of what others hold."""
    held = sum(part.result.bytes for number, part in enumerate(bands.parts) if number != at)
    x, frame = whole.nodes[at].inputs[0].type, bands.parts[at].reads[0]
    assert frame is not None
    return held + (0 if at else x.bytes // x.shape[0] * frame.count // x.shape[ROWS])


def _stays_near(strip: int, first: Node, second: Node, target: Target) -> bool:
    """Whether there are strips of so many blocks, and the first-level cache holds what one needs.

    That is a ring of rows, and the weights of both stages.
    """
    kind = first.type
    blocks, rest = divmod(kind.channels, kind.layout.block(1))
    if rest or blocks % strip:
        return False
    assert isinstance(second.op, Operator)
    span, _ = rows_between(second.op, kind)
    needed = kind.bytes // kind.shape[0] * span // kind.shape[ROWS] + sum(
        operand.type.bytes
        for operand in (*first.inputs[1:], *second.inputs[1:])
        if operand.is_constant
    )
    return needed * strip // blocks <= target.l1_bytes * 3 // 4


def _strip_price(at: int, strip: int, whole: _Whole) -> Callable[[_Bands], float]:
    """Cycles that strips of so many blocks take more, of a stage of given bands and the next."""
    some, block = whole.bands(whole.sizes[-1]).parts, whole.nodes[at].type.layout.block(1)
    pair = in_strips(some[at], some[at + 1], strip * block)
    assert pair[0].strip is not None
    span, step = rows_between(pair[1].op, pair[1].operands[0])
    strips, alone = pair[0].strip.count, len(some) == len(pair)
    one, two = (whole.part_cycles(part, at + number) for number, part in enumerate(pair))

    def price(bands: _Bands) -> float:
        rows, cycles = bands.parts[at + 1].writes.count, whole.cycles_of(bands)
        work = strips * ((rows * step + span - step) * one + rows * (two + _ROW))
        work += sum(cycles) - sum(cycles[at : at + 2])
        again = (bands.count - 1) * whole.weights / _WEIGHTS
        idle = whole.idle(bands.count * (strips if alone else 1))
        return bands.count * work - whole.cycles + again + idle

    return price


def _cycles(node: Node, target: Target) -> float:
    """Estimated cycles of a layer that waits for no memory."""
    if lies_in_rows(node, target):
        return rows_cycles(node, target)
    if blocks_of(node)[0] == 1:
        return node.type.bytes / _COPIED
    return direct_cycles(node, target)
