"""Which convolutions lie in rows: what passes know before layouts are assigned."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.layout import Layout
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.ir.graph import Graph, Node
from cnnc.ir.types import TensorType
from cnnc.offers.direct import direct_cycles
from cnnc.offers.offer import chosen_for, root_of
from cnnc.offers.rows import ROWS, fills_more, may_lie_in_rows, rows_cycles
from cnnc.ops.movement.channel_shuffle import ChannelShuffle
from cnnc.ops.spec import FEW_CHANNELS, Operator
from cnnc.passes._blocks import moves_lanes, own_block, rows_of

_GAIN = 1.05
"""How much faster a layer must be in rows by the estimate."""
_NOTICED = 0.05
"""Of their cycles, what layers must gain together: less is what estimates are wrong by."""
_COPY = 1.25
"""Cycles for each element of a copy from blocks into rows, or from rows into blocks."""
_MOVE = 0.7
"""The same for a copy within blocks, where channels change lanes. Measured on Zen 3."""
_STEP = 500.0
"""Cycles that a copy takes beside that."""


@record
class _Reader:
    """How an operator can read an operand: None where rows are as good as blocks."""

    node: Node
    wants_rows: bool | None


class _Copies:
    """What is copied where neighbours lie differently, of a graph."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        near = rows_of(graph, target)
        self._follows: dict[Node, tuple[Node, ...]] = {}
        self._in_rows: set[Node] = set()
        self._moves: set[Node] = set()  # copies in blocks, and nothing in rows
        self._readers: dict[Node, list[_Reader]] = {}
        for node in graph.nodes:
            if not isinstance(node.op, Operator):
                self._in_rows.add(node)
                continue
            kinds = [operand.type for operand in node.inputs]
            block = own_block(node.type, target) if node.type.rank > 1 else 1
            blocking = node.op.blocking(block, *kinds)
            data = tuple(each for each in node.inputs if not each.is_constant)
            moves = moves_lanes(node, target)
            if moves and not isinstance(root_of(node)[0], ChannelShuffle):
                self._moves.add(node)
            if blocking.follows or moves:
                self._follows[node] = data
            elif blocking.writes == 1:
                self._in_rows.add(node)
            for each in data:
                few = each.type.rank < 3 or each.type.channels <= FEW_CHANNELS or each in near
                takes_blocks = max(blocking.reads) > 1
                wants = None if few and 1 in blocking.reads else not takes_blocks
                self._readers.setdefault(each, []).append(_Reader(node, wants))

    def neighbours(self, node: Node) -> Iterator[Node]:
        """Layers a layer hands data to, or gets data from, with nothing between that would mind."""
        around = [*node.inputs, *(reader.node for reader in self._readers.get(node, ()))]
        seen = {node}
        while around:
            each = around.pop()
            if each in seen or each.is_leaf:
                continue
            seen.add(each)
            yield each
            if each in self._follows:
                around += [*each.inputs, *(reader.node for reader in self._readers.get(each, ()))]

    def cycles(self, rows: Collection[Node]) -> float:
        """Of all copies, where these layers lie in rows."""
        lies = self._lie(rows)
        outputs, total = self.graph.output_nodes, 0.0
        for node in self.graph.nodes:
            if node.is_constant or node.type.rank < 3:
                continue
            wanted = [self._wanted(reader, lies, rows) for reader in self._readers.get(node, ())]
            wanted += [True] * (node in outputs)
            copied = wanted.count(not lies[node])  # each with a halo or a block of its own
            elements = _in_blocks(node.type, self.target).bytes // node.type.dtype.bytes
            total += copied * (_STEP + _COPY * elements)
            if node in self._moves and not lies[node]:
                total += _STEP + _MOVE * elements
        return total

    def _lie(self, rows: Collection[Node]) -> dict[Node, bool]:
        """Whether each value lies in rows."""
        lies: dict[Node, bool] = {}
        for node in self.graph.nodes:
            data = self._follows.get(node, ())
            follows = bool(data) and all(lies[each] for each in data)
            lies[node] = node in rows or node in self._in_rows or follows
        return lies

    def _wanted(
        self, reader: _Reader, lies: Mapping[Node, bool], rows: Collection[Node]
    ) -> bool | None:
        if reader.node in rows:
            return True
        return lies[reader.node] if reader.node in self._follows else reader.wants_rows


def layers_in_rows(graph: Graph, target: Target, choices: Choices = ESTIMATED) -> frozenset[Node]:
    """Convolutions to be computed with neighbouring positions in the lanes of vectors.

    Those that gain more by it, together with their neighbours, than copies at their edges take;
    and those for which that was chosen.
    """
    found: set[Node] = set()
    gains: dict[Node, float] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Operator) or not may_lie_in_rows(node, target):
            continue
        chosen, kinds = chosen_for(node, choices), [operand.type for operand in node.inputs]
        if chosen is not None:
            found |= {node} if chosen.choice.algorithm == ROWS else set()
        elif node.op.nest(node.type, *kinds).groups > 1:
            continue  # in rows where blocks would hold channels of several groups
        elif (
            _stays_near(node, target)
            and fills_more(node, target)
            and (gain := _gain(node, target)) > 0
        ):
            gains[node] = gain
    if gains:
        copies = _Copies(graph, target)
        for group in _groups(gains, copies):
            saved = copies.cycles(found) - copies.cycles(found | set(group))
            whole = sum(rows_cycles(node, target) for node in group)
            if sum(gains[node] for node in group) + saved > _NOTICED * whole:
                found |= set(group)
    return frozenset(found)


def _groups(gains: Collection[Node], copies: _Copies) -> Iterator[Sequence[Node]]:
    """Layers that hand data to each other, in the order of the graph."""
    left = dict.fromkeys(gains)
    while left:
        group = [next(iter(left))]
        del left[group[0]]
        for node in group:
            near = [each for each in copies.neighbours(node) if each in left]
            group += near
            for each in near:
                del left[each]
        yield group


def _stays_near(node: Node, target: Target) -> bool:
    """Whether what a layer reads stays in the second-level cache.

    Vectors of as many rows as there are channels are read in turn, more than machines foresee.
    """
    return node.inputs[0].type.bytes // node.type.shape[0] <= target.l2_bytes


def _gain(node: Node, target: Target) -> float:
    """Cycles by which a layer is faster in rows than in blocks."""
    x, *others = node.inputs
    if x.type.channels > FEW_CHANNELS:
        x = replace(x, type=_in_blocks(x.type, target))
    blocked = replace(node, inputs=(x, *others), type=_in_blocks(node.type, target))
    return direct_cycles(blocked, target) / _GAIN - rows_cycles(node, target)


def _in_blocks(kind: TensorType, target: Target) -> TensorType:
    return kind.with_layout(Layout.blocked(kind.rank, 1, own_block(kind, target)))
