"""Convolutions side by side as one convolution."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, groupby

import numpy as np

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.ir.graph import Array, Constant, Graph, Node
from cnnc.ir.rewrite import fresh_name, rewrite
from cnnc.ir.types import TensorType
from cnnc.ops.axes import resolve_axis
from cnnc.ops.concat import Concat
from cnnc.ops.conv import Conv
from cnnc.ops.conv_map import ConvMap
from cnnc.ops.movement.slice import Slice
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.window import Window
from cnnc.passes._stacked import Stacked

GAIN = 1.1
"""How much faster one with a table must be by the estimate."""
_MASKED = 2.0
"""How many times as long a multiply-add takes whose factor is masked."""
_ROWS = 0.2
"""Part of the multiply-adds' peak that a single channel reaches, in vectors of positions."""


def merge_convs(graph: Graph, target: Target) -> Graph:
    """concat(conv(a, v), conv(b, w))  →  conv(x, v and w), where a and b are channels of x

    Where a and b are the same that is a convolution with more channels. On a CPU, where each is as
    many other channels, in the order of x, and too few to fill vectors, it is one with groups; and
    where each makes a single channel and it is faster by estimate, one with a table of what each
    channel sees (see ConvMap). The same products are summed, in the order of x's channels. Weights
    that others read too stay alone, as they would be stored twice.
    """
    seen = _Channels()

    def rule(node: Node, graph: Graph) -> Node | None:
        if not isinstance(node.op, Concat) or resolve_axis(node.op.axis, node.type.rank) != 1:
            return None
        operands: list[Node] = []
        branches = [_branch(each, seen, graph) for each in node.inputs]
        for _, alike in groupby(zip(node.inputs, branches, strict=True), lambda pair: _kind(*pair)):
            nodes, found = zip(*alike, strict=True)
            run = [branch for branch in found if branch]
            made = _form_of(run, target) if len(run) > 1 else None
            operands += nodes if made is None else [_with_tail(made.node(graph), run[0].tail)]
        if len(operands) == len(node.inputs):
            return None
        if len(operands) == 1:
            return replace(operands[0], name=node.name, span=node.span)
        return replace(node, inputs=tuple(operands))

    return rewrite(graph, rule)


def _form_of(run: Sequence["_Branch"], target: Target) -> "_Merged | None":
    """What several convolutions become, if that is faster."""
    if len({branch.x for branch in run}) == 1:
        return _Merged(run, run[0].x) if _gains_by_channels(run) else None
    if target.is_gpu:
        return None
    if _are_groups(run):
        few = _fill_no_vector(run, target)
        return _Merged(run, run[0].source, groups=len(run)) if few else None
    return _Merged(run, run[0].source, by_table=True) if _gains_by_table(run, target) else None


@record
class _Branch:
    """A convolution that nothing but the concat reads, and the channels of `source` it reads.

    `tail` are pointwise operators between it and the concat.
    """

    node: Node
    op: Conv
    window: Window
    source: Node
    channels: Shape
    tail: tuple[Node, ...]

    @property
    def x(self) -> Node:
        """What it reads."""
        return self.node.inputs[0]


def _branch(node: Node, seen: "_Channels", graph: Graph) -> _Branch | None:
    """The operand of a concat as one, or None; its weights are known, and it has no groups."""
    tail: list[Node] = []
    while isinstance(node.op, Pointwise) and graph.is_private(node):
        below = [operand for operand in node.inputs if not _is_number(operand)]
        if len(below) != 1:
            return None
        tail.append(node)
        node = below[0]
    op = node.op
    if not isinstance(op, Conv) or op.groups > 1 or not graph.is_private(node):
        return None
    if not all(each.is_constant for each in node.inputs[1:]):
        return None
    if not graph.is_private(node.inputs[1]):
        return None
    source, channels = seen.of(node.inputs[0])
    if len(set(channels)) < len(channels):
        return None
    window = op.window(node.inputs[0].type)
    return _Branch(node, op, window, source, channels, tuple(reversed(tail)))


def _is_number(node: Node) -> bool:
    return node.is_constant and node.type.elements == 1


def _kind(node: Node, branch: _Branch | None) -> object:
    """Equal for those that may become one convolution."""
    if branch is None:
        return node
    numbers = tuple(tuple(map(_number, each.inputs)) for each in branch.tail)
    return branch.window, branch.source, tuple(each.op for each in branch.tail), numbers


def _number(node: Node) -> object:
    """What an operand in a tail is: a number with its sign, or what stands before."""
    return (node.type, node.constant.tobytes()) if node.constant is not None else None


def _with_tail(node: Node, tail: Sequence[Node]) -> Node:
    """A node with these operators behind it."""
    for each in tail:
        inputs = tuple(operand if _is_number(operand) else node for operand in each.inputs)
        assert isinstance(each.op, Pointwise)
        kind = each.op.infer(*(operand.type for operand in inputs))
        node = replace(each, inputs=inputs, type=kind)
    return node


class _Channels:
    """Of which tensor others are some channels, and which; remembered, as many may share one."""

    def __init__(self) -> None:
        self._known: dict[Node, tuple[Node, Shape]] = {}

    def of(self, node: Node) -> tuple[Node, Shape]:
        """The tensor and the channels: the node's own, where it is computed."""
        waiting = [node]
        while waiting:
            each = waiting[-1]
            operands = [operand for operand in _parts(each) if operand not in self._known]
            if not operands:
                self._known[each] = self._found(each)
                waiting.pop()
            waiting += operands
        return self._known[node]

    def _found(self, node: Node) -> tuple[Node, Shape]:
        """From what is known of the operands."""
        parts = [self._known[operand] for operand in _parts(node)]
        if len({source for source, _ in parts}) != 1:
            return node, tuple(range(node.type.channels))
        source, channels = parts[0][0], tuple(chain.from_iterable(part for _, part in parts))
        if isinstance(node.op, Slice):
            taken = node.op.positions(node.inputs[0].type.shape)[1]
            channels = tuple(channels[at] for at in taken)
        return source, channels


def _parts(node: Node) -> tuple[Node, ...]:
    """The tensors that the channels of a slice or a concat are those of; none of others."""
    match node.op:
        case Slice() as op if node.type.rank > 1:
            x = node.inputs[0].type
            samples, _, *rest = op.positions(x.shape)
            whole = (samples, *rest) == tuple(map(range, (x.shape[0], *x.spatial)))
            return node.inputs if whole else ()
        case Concat(axis) if resolve_axis(axis, node.type.rank) == 1:
            return node.inputs
    return ()


def _gains_by_channels(run: Sequence[_Branch]) -> bool:
    """Whether one of more channels is faster: not where a single one is a sum along rows."""
    one_tap = max(run[0].window.kernel) == 1
    return not one_tap or any(branch.op.channels > 1 for branch in run)


def _fill_no_vector(run: Sequence[_Branch], target: Target) -> bool:
    """Whether neither the channels that each reads nor those that it makes fill a vector."""
    lanes = target.lanes(run[0].source.type.dtype)
    return lanes == 1 or max(len(run[0].channels), run[0].op.channels) < lanes


def _are_groups(run: Sequence[_Branch]) -> bool:
    """Whether each reads as many other channels, in order and all together, and makes as many."""
    sizes = {(len(branch.channels), branch.op.channels) for branch in run}
    every = [*chain.from_iterable(branch.channels for branch in run)]
    return len(sizes) == 1 and every == [*range(run[0].source.type.channels)]


def _gains_by_table(run: Sequence[_Branch], target: Target) -> bool:
    """Whether one convolution over all channels is faster by estimate than single channels."""
    source = run[0].source.type
    lanes = target.lanes(source.dtype)
    if target.is_small or lanes == 1 or any(branch.op.channels > 1 for branch in run):
        return False
    every = [*chain.from_iterable(branch.channels for branch in run)]
    alone = len(every) / lanes / _ROWS
    together = source.channels * -(-len(run) // lanes) * _MASKED
    return len({*every}) == source.channels and together * GAIN <= alone


@record
class _Merged:
    """One convolution of x for a run of them."""

    run: Sequence[_Branch]
    x: Node
    groups: int = 1
    by_table: bool = False

    def node(self, graph: Graph) -> Node:
        """Called as the first of them, and its parameters unless others read those."""
        first, conv = self.run[0].node, self._conv()
        values = [Constant(self._weights(conv))]
        values += [Constant(self._bias())] if conv.bias else []
        values += [Constant(self._table())] if self.by_table else []
        names = ("weight", "bias", "table") if conv.bias else ("weight", "table")
        operands = []
        for at, (value, name) in enumerate(zip(values, names, strict=False), start=1):
            kind = TensorType.plain(value.source.shape, first.type.dtype)
            old = [each for each in first.inputs[at : at + 1] if graph.is_private(each)]
            called = old[0].name if old else fresh_name(graph, f"{first.name}.{name}")
            operands.append(Node(value, (), kind, called, first.span))
        op = ConvMap(conv) if self.by_table else conv
        kind = op.infer(self.x.type, *(operand.type for operand in operands))
        return replace(first, op=op, inputs=(self.x, *operands), type=kind)

    def _conv(self) -> Conv:
        first = self.run[0].op
        channels = sum(branch.op.channels for branch in self.run)
        bias = any(branch.op.bias for branch in self.run)
        return replace(first, channels=channels, groups=self.groups, bias=bias)

    def _weights(self, conv: Conv) -> Stacked:
        weights = [branch.node.inputs[1].op for branch in self.run]
        depth = self.x.type.channels // self.groups
        shape = (conv.channels, depth, *self.run[0].window.kernel)
        places = [b.channels if self.by_table else tuple(range(depth)) for b in self.run]
        known = tuple(weight for weight in weights if isinstance(weight, Constant))
        return Stacked(known, places, TensorType.plain(shape, self.x.type.dtype))

    def _bias(self) -> Array:
        """Zeros where there is none."""
        numpy = self.x.type.dtype.numpy
        known = [branch.node.inputs[2:] for branch in self.run]
        each = [
            bias[0].constant if bias else np.zeros(branch.op.channels, numpy)
            for bias, branch in zip(known, self.run, strict=True)
        ]
        return np.concatenate([value for value in each if value is not None])

    def _table(self) -> Array:
        """See ConvMap."""
        numpy = self.x.type.dtype.numpy
        rows = np.zeros((len(self.run), self.x.type.channels), numpy)
        for row, branch in zip(rows, self.run, strict=True):
            row[[*branch.channels]] = 1
        return rows.repeat([branch.op.channels for branch in self.run], axis=0)
