"""Which nests are handed out as threads come, rather than in parts that each thread keeps.

Where cores are of several kinds, threads that are done take from what slower ones have left of
parts that they have begun. Where all are equally fast that costs something, for nothing.
"""

from dataclasses import replace
from math import prod

from cnnc.base.estimate import step_cycles
from cnnc.base.target import Target
from cnnc.loop.kernel import For, Kernel, Stmt, parallel_loops

SHORTEST_PART = 100_000
"""Estimated cycles of a thread's part from which on others may take from it."""
SHORTEST_TAKEN = 5_000
"""Estimated cycles of what is taken at once, at least: taking it costs from fifty to a thousand."""
FEWEST = 2
"""Times that a part can be taken from, at least."""


def hands_out(target: Target) -> bool:
    """Whether threads are to take from each other at all."""
    return target.cores > 1 and target.mixed_cores


def hand_out(kernel: Kernel, target: Target) -> Kernel:
    """for h in 56 parallel: …  →  for h in 56 parallel by 2: …, for the nest that takes longest.

    Others stay as they are, and so does one that is short or has few iterations for each core.
    """
    if not hands_out(target):
        return kernel
    costs = [_cost(nest) for nest in kernel.body]
    longest = max(range(len(costs)), key=costs.__getitem__)
    nest = kernel.body[longest]
    tasks = prod(loop.extent for loop in parallel_loops(nest))
    if not isinstance(nest, For) or tasks < FEWEST * target.cores:
        return kernel
    moved = sum(param.size * param.dtype.bytes for param in kernel.params)
    cycles = step_cycles(kernel.origin.macs, moved, target) * costs[longest] / sum(costs)
    grain = max(1, round(SHORTEST_TAKEN * tasks / cycles))
    if cycles < SHORTEST_PART * target.cores or tasks < grain * FEWEST * target.cores:
        return kernel
    nests: list[Stmt] = [*kernel.body]
    nests[longest] = replace(nest, grain=grain)
    return kernel.with_body(tuple(nests))


def _cost(stmt: Stmt) -> int:
    """How many statements run."""
    return stmt.extent * sum(map(_cost, stmt.body)) if isinstance(stmt, For) else 1
