"""Fusion by composition: pointwise operators join the operator whose value they read."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cnnc.base.target import Target
from cnnc.ir.graph import Graph, Node
from cnnc.ir.rewrite import substitute
from cnnc.ops.concat import Concat
from cnnc.ops.flatten import Flatten
from cnnc.ops.fused import Earlier, Extra, Fused, TailStep
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.repack import Repack
from cnnc.ops.reshape import Reshape
from cnnc.ops.spec import Operator

NEVER_ROOTS = (Fused, Repack, Flatten, Reshape)
"""Operators that take no tail; the last two need no loops of their own."""
LONGEST_TAIL = 16
"""Steps of a tail at most: every element of a register tile repeats their code."""
MOST_REPEATED = 4
"""Operands of a concat that takes a tail."""


def fuse(graph: Graph, target: Target | None = None) -> Graph:
    """relu(add(conv(x, w), y))  →  fused[conv; add; relu](x, w, y)

    Values inside a group are read only there; its extra operands broadcast to the root's result. A
    cast may be among them, so that the result is of another element type than the root's.
    Of several operators that could take the same tail, the last one in order does. The fused node
    has the root's name and span. The loops of a concat repeat a tail for each operand, and for each
    block that several share, so one of more than MOST_REPEATED takes none, and none does where
    memory for code is small.
    """
    position = {node: place for place, node in enumerate(graph.nodes)}
    most = 0 if target and target.is_small else MOST_REPEATED
    groups = _groups(graph, position, most)
    return substitute(graph, {group[-1]: _fused(*group) for group in groups})


def _groups(graph: Graph, position: Mapping[Node, int], most_repeated: int) -> Iterator[list[Node]]:
    """A root and the nodes of its tail, operands first; only the last one is read outside.

    Operators that are not pointwise choose first, last to first; then pointwise chains.
    """
    candidates = [node for node in graph.nodes if _may_be_root(node, most_repeated)]
    heavy = [node for node in reversed(candidates) if not isinstance(node.op, Pointwise)]
    light = [node for node in candidates if isinstance(node.op, Pointwise)]
    taken: set[Node] = set()
    for root in (*heavy, *light):
        if root in taken:
            continue
        group = [root]
        while region := _region(graph, group[-1], position, taken):
            if len(group) + len(region) > 1 + LONGEST_TAIL:
                break
            group += region
        if len(group) > 1:
            taken.update(group)
            yield group


def _may_be_root(node: Node, most_repeated: int) -> bool:
    if isinstance(node.op, Concat) and len(node.inputs) > most_repeated:
        return False
    return isinstance(node.op, Operator) and not isinstance(node.op, NEVER_ROOTS)


def _may_be_step(node: Node) -> bool:
    if not isinstance(node.op, Pointwise) or isinstance(node.op, Repack):
        return False
    return node.op.broadcasts(*(operand.type for operand in node.inputs))


def _region(
    graph: Graph, start: Node, position: Mapping[Node, int], taken: set[Node]
) -> list[Node]:
    """The nearest pointwise node through which all readers of `start` pass, and those between.

    Empty if there is none. No operand from outside the region can depend on `start`: every path
    from it leaves through the last node.
    """
    if start in graph.output_nodes:
        return []
    region: list[Node] = []
    frontier = set(graph.users[start])
    while frontier and len(region) < LONGEST_TAIL:
        node = min(frontier, key=position.__getitem__)
        frontier.remove(node)
        if not _may_be_step(node) or node.type.shape != start.type.shape or node in taken:
            return []
        region.append(node)
        if not frontier:
            return region
        if node in graph.output_nodes:
            return []
        frontier.update(graph.users[node])
    return []


def _fused(root: Node, *tail: Node) -> Node:
    """One node for the group; an extra operand that two steps read is listed once."""
    places: dict[Node, Earlier | Extra] = {root: Earlier(0)}
    extras: list[Node] = []
    steps = []
    for number, node in enumerate(tail, start=1):
        for operand in node.inputs:
            if operand not in places:
                places[operand] = Extra(len(extras))
                extras.append(operand)
        assert isinstance(node.op, Pointwise)
        steps.append(TailStep(node.op, tuple(places[operand] for operand in node.inputs)))
        places[node] = Earlier(number)
    assert isinstance(root.op, Operator)
    op = Fused(root.op, len(root.inputs), tuple(steps))
    return replace(root, op=op, inputs=(*root.inputs, *extras), type=tail[-1].type)
