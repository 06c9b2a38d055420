"""Batches whose samples run one after the other."""

from dataclasses import replace

from cnnc.base.estimate import step_cycles
from cnnc.base.target import Target
from cnnc.ir.graph import Graph, Input, Node, OpError
from cnnc.ir.types import TensorType
from cnnc.offers.far import are_far, cycles_from_afar
from cnnc.ops.spec import Operator

SHORTEST_SAMPLE = 40_000
"""Estimated cycles of a sample from which on its samples are taken apart: in shorter ones, calls
and what begins anew with each sample count."""
MOST_WAITING = 0.08
"""Of the cycles of a sample, those that may be spent on weights which would be read once for all
samples together."""


def take_apart(graph: Graph, target: Target) -> Graph:
    """graph (batch=8) of f32[8, …]  →  graph (batch=8, apart) of f32[1, …]

    Where samples are independent of each other. The tensors of one sample stay in caches that those
    of a batch would leave, and threads that have a sample each need not wait for each other; but
    weights are read for every sample, which must not take long by estimate. A small machine has
    no more memory than one sample needs.
    """
    if graph.batch == 1:
        return graph
    alone = _alone(graph)
    if alone is None or not (target.is_small or _pays(alone, target)):
        return graph
    return alone


def _alone(graph: Graph) -> Graph | None:
    """The graph of one sample; None where samples depend on each other, or an operator on how
    many there are."""
    fed: set[Node] = set()
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        operands = [new[operand] for operand in node.inputs]
        if not isinstance(node.op, Input) and fed.isdisjoint(node.inputs):
            new[node] = node
            continue
        kind = _type_alone(node, [operand.type for operand in operands], graph.batch)
        if kind is None:
            return None
        fed.add(node)
        new[node] = replace(node, inputs=tuple(operands), type=kind)
    outputs = {name: new[node] for name, node in graph.outputs.items()}
    if not fed.issuperset(graph.output_nodes):
        return None
    inputs = tuple(new[node] for node in graph.inputs)
    return replace(graph, inputs=inputs, outputs=outputs, is_apart=True)


def _type_alone(node: Node, operands: list[TensorType], batch: int) -> TensorType | None:
    """The type of a node that depends on inputs, for one sample."""
    if node.type.shape[:1] != (batch,):
        return None
    one = node.type.with_shape((1, *node.type.shape[1:]))
    if isinstance(node.op, Input):
        return one
    if not isinstance(node.op, Operator):
        return None
    if node.op.mixes_batch(*(operand.type for operand in node.inputs)):
        return None
    try:
        found = node.op.infer(*operands)
    except OpError:
        return None
    return one if (found.shape, found.dtype) == (one.shape, one.dtype) else None


def _pays(graph: Graph, target: Target) -> bool:
    """Whether one sample after the other is faster than all at once, by estimate."""
    far, total, waiting = are_far(graph, target), 0.0, 0.0
    for node in graph.nodes:
        if not isinstance(node.op, Operator):
            continue
        kinds = [operand.type for operand in node.inputs]
        moved = node.type.bytes + sum(kind.bytes for kind in kinds)
        macs = node.op.macs(node.type, *kinds)
        weights = sum(operand.type.bytes for operand in node.inputs if operand.is_constant)
        arriving = cycles_from_afar(weights, target, far=far)
        total += step_cycles(macs, moved, target)
        waiting += max(0.0, arriving - step_cycles(macs, 0, target))
    return total >= SHORTEST_SAMPLE and waiting <= MOST_WAITING * total
