"""How threads share the nests of a kernel."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.base.target import Target
from cnnc.ir.graph import Graph


def sharing_target(graph: Graph, target: Target) -> Target:
    """The target whose cores share a step of the graph.

    Where samples are apart, threads share whole samples: each step is that of one thread.
    """
    return replace(target, cores=1) if graph.is_apart else target


def longest_share(nests: Sequence[tuple[int, float]], cores: int) -> float:
    """The most that a core has to do of nests, each of so many tasks of a size.

    Threads share them so: one task after the other, every other nest from the last core on.
    """
    loads = [0.0] * cores
    for number, (tasks, size) in enumerate(nests):
        shares = [tasks * (core + 1) // cores - tasks * core // cores for core in range(cores)]
        for core, share in enumerate(shares[::-1] if number % 2 else shares):
            loads[core] += share * size
    return max(loads)
