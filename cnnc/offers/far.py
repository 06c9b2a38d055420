"""What it costs that weights do not stay in the caches."""

from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph

L2_BYTES = 32.0
"""Bytes of weights that arrive from the second-level cache in a cycle, where each band of rows
takes all of them from there: no band is computed faster."""
L3_BYTES = 48.0
MEMORY_BYTES = 8.0
"""Bytes a cycle of weights that are prefetched while others are multiplied: what is not hidden."""


def are_far(graph: Graph, target: Target, more: int = 0) -> bool:
    """Whether weights come from memory, as those of all the net's layers do not stay in caches.

    `more` bytes are read besides the graph's own.
    """
    weights = sum(node.type.bytes for node in graph.nodes if isinstance(node.op, Constant))
    return weights + more > max(target.l3_bytes, target.l2_bytes)


def cycles_from_afar(size: int, target: Target, *, far: bool) -> float:
    """Cycles to read so many bytes once, where they do not stay in the caches."""
    if far or size > max(target.l3_bytes, target.l2_bytes):
        return size / MEMORY_BYTES
    return 0.0 if size <= target.l2_bytes else size / L3_BYTES
