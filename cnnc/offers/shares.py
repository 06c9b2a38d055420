"""How threads share the nests of a kernel."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.base.estimate import step_cycles
from cnnc.base.target import Target
from cnnc.ir.graph import Graph, Node
from cnnc.offers.direct import weight_bytes
from cnnc.offers.far import L2_BYTES, MEMORY_BYTES
from cnnc.ops.spec import Operator

CROSSING = 8.0
"""Bytes a cycle that a thread reads after another one wrote them."""


def sharing_target(graph: Graph, target: Target) -> Target:
    """The target whose cores share a step of the graph.

    Where samples are apart, threads share whole samples: each step is that of one thread.
    """
    return replace(target, cores=1) if graph.is_apart else target


def longest_share(nests: Sequence[tuple[int, float]], cores: int) -> float:
    """The most that a core has to do of nests, each of so many tasks of a size.

    Threads share them so: one task after the other, and of those nests whose tasks are not as many
    for every core every other one from the last core on.
    """
    loads = [0.0] * cores
    uneven = 0
    for tasks, size in nests:
        shares = [tasks * (core + 1) // cores - tasks * core // cores for core in range(cores)]
        for core, share in enumerate(shares[::-1] if uneven % 2 else shares):
            loads[core] += share * size
        uneven += tasks % cores > 0
    return max(loads)


def shares_rows(node: Node, target: Target) -> bool:
    """Whether threads share a layer by rows: each reads all weights then, which must be in time.

    Otherwise they share it by channels, and each reads what all of them wrote.
    """
    op, kinds = node.op, [operand.type for operand in node.inputs]
    assert isinstance(op, Operator)
    weights = weight_bytes(node)
    arrival = weights / (L2_BYTES if weights <= target.l2_bytes else MEMORY_BYTES)
    moved = node.type.bytes + sum(o.type.bytes for o in node.inputs if not o.is_constant)
    return target.cores * arrival <= step_cycles(op.macs(node.type, *kinds), moved, target)
