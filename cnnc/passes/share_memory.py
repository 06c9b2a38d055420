"""Let tensors that are parts of others be written and read where those lie."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.base.layout import Layout
from cnnc.ir.graph import Graph, Node
from cnnc.ir.rewrite import fresh_name
from cnnc.ir.types import TensorType
from cnnc.ops.concat import Concat
from cnnc.ops.flatten import Flatten
from cnnc.ops.movement.slice import Slice
from cnnc.ops.repack import Repack
from cnnc.ops.reshape import Reshape
from cnnc.ops.spec import Operator
from cnnc.ops.view import View, can_be_view, within

Halo = tuple[tuple[int, int], ...]


def share_memory(graph: Graph) -> Graph:
    """concat(conv(x), conv(y))  →  view[concat](conv(x), conv(y)), both written where it lies

    A tensor can be part of one other only, and that of a third: concats that grow are one. What is
    part of something else already, or lies outside the arena, is copied into its place. A `slice`
    of neighbouring channels, and a tensor that is only called by another shape, are read where
    they lie. Parts have the halo of the whole.
    """
    parts = _Parts(graph)
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            parts.join(node)
    for node in graph.nodes:
        if isinstance(node.op, Slice):
            parts.cut(node)
    return _Rebuilt(graph, parts).graph()


class _Parts:
    """Who is part of whom: parts lie as their wholes do.

    `wholes` has the whole of every part, `joined` the parts of every concat that is a view.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.wholes: dict[Node, Node] = {}
        self.joined: dict[Node, tuple[Node, ...]] = {}

    def join(self, node: Node) -> None:
        """Let a concat be a view of its operands, if at least half of it need not be copied."""
        if not self.is_movable(node) or not can_be_view(node.op, *_types(node.inputs)):
            return
        operands = self._with_runs(node.inputs)
        fits = [self._fits(each, node) and operands.count(each) == 1 for each in operands]
        there = sum(each.type.bytes for each, fit in zip(operands, fits, strict=True) if fit)
        if 2 * there < sum(each.type.bytes for each in operands):
            return
        layout = replace(node.type.layout, within=within(node.type))
        kinds = [each.type.with_layout(layout) for each in operands]
        if _view(node.op).find_fault(node.type, *kinds) is None:
            self.joined[node] = tuple(
                each if fit else self._copy(each, node, position)
                for position, (each, fit) in enumerate(zip(operands, fits, strict=True))
            )
            self.wholes.update(dict.fromkeys(self.joined[node], node))

    def cut(self, node: Node) -> None:
        """Let a slice be a view of its operand."""
        x = node.inputs[0]
        if node in self.wholes or not self.is_movable(node) or not self.is_movable(x):
            return
        if not can_be_view(node.op, x.type):
            return
        kind = node.type.with_layout(replace(x.type.layout, within=within(x.type)))
        if _lie_alike(node, x) and _view(node.op).find_fault(kind, x.type) is None:
            self.wholes[node] = x

    def layouts(self) -> dict[Node, Layout]:
        """New layouts for parts and wholes: with the halo of all that share the memory."""
        families: dict[Node, list[Node]] = {}
        for part in self.wholes:
            root = part
            while root in self.wholes:
                root = self.wholes[root]
            families.setdefault(root, [root]).append(part)
        layouts: dict[Node, Layout] = {}
        for root, family in families.items():
            layout = root.type.layout.with_halo(_widest(family))
            layouts |= dict.fromkeys(family, replace(layout, within=within(root.type)))
            layouts[root] = layout
        return layouts

    def is_movable(self, node: Node) -> bool:
        """Whether the compiler chooses where the node lies."""
        return not node.is_leaf and node not in self.graph.output_nodes

    def _fits(self, part: Node, whole: Node) -> bool:
        return self.is_movable(part) and part not in self.wholes and _lie_alike(part, whole)

    def _with_runs(self, operands: tuple[Node, ...]) -> tuple[Node, ...]:
        """x, y, z  →  xy, z where xy joins x and y and is no part yet."""
        for node in reversed(self.joined):
            count = len(node.inputs)
            for start in range(len(operands) - count + 1) if node not in self.wholes else ():
                if operands[start : start + count] == node.inputs:
                    return (*operands[:start], node, *operands[start + count :])
        return operands

    def _copy(self, operand: Node, whole: Node, position: int) -> Node:
        name = fresh_name(self.graph, f"{whole.name}.{position}")
        kind = operand.type.with_layout(whole.type.layout)
        return Node(Repack(), (operand,), kind, name, whole.span)


class _Rebuilt:
    """The graph again, with views and new layouts."""

    def __init__(self, graph: Graph, parts: _Parts) -> None:
        self.old = graph
        self.parts = parts
        self.layouts = parts.layouts()
        self.new: dict[Node, Node] = {}

    def graph(self) -> Graph:
        """The same graph if nothing changes."""
        for node in self.old.nodes:
            self._settle(node)
        if all(self.new[node] is node for node in self.old.nodes):
            return self.old
        return replace(
            self.old,
            inputs=tuple(self.new[node] for node in self.old.inputs),
            outputs={name: self.new[node] for name, node in self.old.outputs.items()},
        )

    def _settle(self, node: Node) -> Node:
        if node not in self.new:
            operands = self.parts.joined.get(node, node.inputs)
            made = node.with_inputs([self._settle(each) for each in operands])
            layout = self.layouts.get(node, node.type.layout)
            if layout != node.type.layout:
                made = replace(made, type=node.type.with_layout(layout))
            if self._is_view(node, made):
                made = replace(made, op=_view(node.op))
            self.new[node] = made
        return self.new[node]

    def _is_view(self, node: Node, made: Node) -> bool:
        whole = self.parts.wholes.get(node)
        if node in self.parts.joined or (isinstance(node.op, Slice) and whole in node.inputs):
            return True
        ends_move = all(map(self.parts.is_movable, (node, *node.inputs)))
        if not isinstance(node.op, Reshape | Flatten) or whole or not ends_move:
            return False
        return _view(node.op).find_fault(made.type, *_types(made.inputs)) is None


def _view(op: object) -> View:
    assert isinstance(op, Operator)
    return View(op)


def _lie_alike(one: Node, other: Node) -> bool:
    """Whether two tensors lie in the same order and blocks."""
    return replace(one.type.layout, halo=()) == replace(other.type.layout, halo=())


def _widest(nodes: Sequence[Node]) -> Halo:
    """The halo that holds those of all."""
    halos = [node.type.layout.halo for node in nodes if node.type.layout.halo]
    return tuple(
        (max(low for low, _ in ends), max(high for _, high in ends))
        for ends in zip(*halos, strict=True)
    )


def _types(nodes: Sequence[Node]) -> list[TensorType]:
    return [node.type for node in nodes]
