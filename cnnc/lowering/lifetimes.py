"""Which tensors lie in the arena, from which step to which, and inside which others."""

from collections.abc import Iterator, Sequence

from cnnc.ir.graph import Graph, Node
from cnnc.lowering.plan_memory import Value
from cnnc.ops.fused import Fused
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.view import View


def is_step(node: Node) -> bool:
    """Whether a kernel computes the node: it is no leaf, and no view of others."""
    return not node.is_leaf and not isinstance(node.op, View)


def sources(node: Node) -> tuple[Node, ...]:
    """The computed nodes that a node reads, behind the views it reads, each once."""
    return tuple(dict.fromkeys(_sources(node)))


def _sources(node: Node) -> Iterator[Node]:
    for operand in node.inputs:
        if is_step(operand):
            yield operand
        else:
            yield from _sources(operand)


def arena_values(graph: Graph, steps: Sequence[Node]) -> dict[Node, Value]:
    """Every tensor that is neither leaf nor output, where the steps run in this order."""
    names = {node: f"v{position}" for position, node in enumerate(graph.nodes)}
    made = {node: step for step, node in enumerate(steps)}
    last = {operand: step for step, node in enumerate(steps) for operand in node.inputs}
    wholes = dict(_wholes(graph))
    values: dict[Node, Value] = {}
    for node in graph.nodes:
        if node.is_leaf or node in graph.output_nodes:
            continue
        first = made[node] if node in made else max(made[each] for each in sources(node))
        whole, at = wholes.get(node, (None, 0))
        values[node] = Value(
            names[node],
            node.type.layout.size(node.type.shape) * node.type.dtype.bytes,
            first,
            last.get(node, first),
            tuple(names[operand] for operand in _replaceable(node)),
            names[whole] if whole else "",
            at,
        )
    return values


def _wholes(graph: Graph) -> Iterator[tuple[Node, tuple[Node, int]]]:
    """Every node that lies inside another, that one, and the bytes before it there."""
    for node in graph.nodes:
        if not isinstance(node.op, View):
            continue
        offsets = node.op.offsets(node.type, *(operand.type for operand in node.inputs))
        if node.op.joins:
            for operand, offset in zip(node.inputs, offsets, strict=True):
                yield operand, (node, offset)
        else:
            yield node, (node.inputs[0], offsets[0])


def _replaceable(node: Node) -> list[Node]:
    """Operands whose memory the result may take: read only at the index that is written.

    One that stands twice is not among them: the root of a fused operator may read it elsewhere.
    """
    op, first = node.op, 0
    if isinstance(op, Fused):
        first = 0 if isinstance(op.root, Pointwise) else op.root_arity
    elif not isinstance(op, Pointwise):
        return []
    return [
        operand
        for operand in node.inputs[first:]
        if operand.type == node.type and node.inputs.count(operand) == 1
    ]
