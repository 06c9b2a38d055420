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
from cnnc.offers.winograd import are_transformed_far, choose_winograd, suits
from cnnc.ops.axes import resolve_axis
from cnnc.ops.concat import Concat
from cnnc.ops.conv import Conv
from cnnc.ops.conv_map import ConvMap
from cnnc.ops.movement.slice import Slice
from cnnc.ops.window import Window
from cnnc.passes._stacked import Stacked

GAIN = 1.1
"""How much faster one with a table must be by the estimate."""
_ROWS = 0.2
"""Part of the multiply-adds' peak that a single channel reaches, in vectors of positions."""


def merge_convs(graph: Graph, target: Target, *, exact: bool = False) -> Graph:
    """concat(conv(a, v), conv(b, w))  →  conv(x, v and w), where a and b are channels of x

    Where a and b are the same that is a convolution with more channels, and where each is as many
    other channels, in the order of x, one with groups: unless Winograd's algorithm is faster for
    each alone. Otherwise, on a CPU and where it is faster by estimate, one with a table of what
    each channel sees (see ConvMap). The same products are summed, in the order of x's channels.
    """
    fast = not exact and not target.is_gpu
    far = fast and are_transformed_far(graph, target)

    def is_better_alone(branch: _Branch) -> bool:
        op, inputs = branch.op, branch.node.inputs
        if not fast or not suits(op, inputs, target):
            return False
        return choose_winograd(op, inputs[0].type, target, far) is not None

    def merged(run: Sequence[_Branch], graph: Graph) -> Node | None:
        """One convolution for several, or None."""
        if len({branch.x for branch in run}) == 1:
            return _Merged(run, run[0].x).node(graph)
        if _are_groups(run):
            alone = any(map(is_better_alone, run))
            return None if alone else _Merged(run, run[0].source, groups=len(run)).node(graph)
        faster = _gains_by_table(run, target)
        return _Merged(run, run[0].source, by_table=True).node(graph) if faster else None

    def rule(node: Node, graph: Graph) -> Node | None:
        if not isinstance(node.op, Concat) or resolve_axis(node.op.axis, node.type.rank) != 1:
            return None
        operands: list[Node] = []
        for _, alike in groupby(node.inputs, lambda operand: _kind(operand, graph)):
            nodes = [*alike]
            run = [branch for each in nodes if (branch := _branch(each, graph))]
            made = merged(run, graph) if len(run) > 1 else None
            operands += nodes if made is None else [made]
        if len(operands) == len(node.inputs):
            return None
        if len(operands) == 1:
            return replace(operands[0], name=node.name, span=node.span)
        return replace(node, inputs=tuple(operands))

    return rewrite(graph, rule)


@record
class _Branch:
    """A convolution that nothing but the concat reads, and the channels of `source` it reads."""

    node: Node
    op: Conv
    window: Window
    source: Node
    channels: Shape

    @property
    def x(self) -> Node:
        """What it reads."""
        return self.node.inputs[0]


def _branch(node: Node, graph: Graph) -> _Branch | None:
    """The operand of a concat as one, or None; its weights are known, and it has no groups."""
    op = node.op
    if not isinstance(op, Conv) or op.groups > 1 or not graph.is_private(node):
        return None
    if not all(each.is_constant for each in node.inputs[1:]):
        return None
    source, channels = _seen(node.inputs[0])
    if len(set(channels)) < len(channels):
        return None
    return _Branch(node, op, op.window(node.inputs[0].type), source, channels)


def _kind(node: Node, graph: Graph) -> object:
    """Equal for those that may become one convolution."""
    branch = _branch(node, graph)
    return node if branch is None else (branch.window, branch.source)


def _seen(node: Node) -> tuple[Node, Shape]:
    """The tensor of which a node is some channels, and which."""
    kind = node.type
    match node.op:
        case Slice() as op if kind.rank > 1:
            x = node.inputs[0]
            samples, taken, *rest = op.positions(x.type.shape)
            if (samples, *rest) == tuple(map(range, (x.type.shape[0], *x.type.spatial))):
                source, channels = _seen(x)
                return source, tuple(channels[at] for at in taken)
        case Concat(axis) if resolve_axis(axis, kind.rank) == 1:
            parts = [*map(_seen, node.inputs)]
            if len({source for source, _ in parts}) == 1:
                return parts[0][0], tuple(chain.from_iterable(part for _, part in parts))
    return node, tuple(range(kind.channels))


def _are_groups(run: Sequence[_Branch]) -> bool:
    """Whether each reads as many other channels, in order and all together, and makes as many."""
    sizes = {(len(branch.channels), branch.op.channels) for branch in run}
    every = [*chain.from_iterable(branch.channels for branch in run)]
    return len(sizes) == 1 and every == [*range(run[0].source.type.channels)]


def _gains_by_table(run: Sequence[_Branch], target: Target) -> bool:
    """Whether one convolution over all channels is faster by estimate; on a CPU with vectors."""
    source = run[0].source.type
    lanes = target.lanes(source.dtype)
    if target.is_gpu or target.is_small or lanes == 1:
        return False
    seen = set(chain.from_iterable(branch.channels for branch in run))
    alone, channels = 0.0, 0
    for branch in run:
        made = branch.op.channels
        alone += len(branch.channels) * (-(-made // lanes) if made > 1 else 1 / lanes / _ROWS)
        channels += made
    together = source.channels * -(-channels // lanes)
    return len(seen) == source.channels and together * GAIN <= alone


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
