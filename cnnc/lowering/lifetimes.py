"""Which tensors lie in the arena, and from which step to which."""

from collections.abc import Sequence

from cnnc.ir.graph import Graph, Node
from cnnc.lowering.plan_memory import Value
from cnnc.ops.fused import Fused
from cnnc.ops.pointwise import Pointwise


def arena_values(graph: Graph, steps: Sequence[Node]) -> dict[Node, Value]:
    """Every computed tensor that is no output, where the steps run in this order."""
    names = {node: f"v{position}" for position, node in enumerate(graph.nodes)}
    last = {operand: step for step, node in enumerate(steps) for operand in node.inputs}
    return {
        node: Value(
            names[node],
            node.type.bytes,
            step,
            last.get(node, step),
            tuple(names[operand] for operand in _replaceable(node)),
        )
        for step, node in enumerate(steps)
        if node not in graph.output_nodes
    }


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
