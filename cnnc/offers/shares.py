"""How threads share the nests of a kernel."""

from collections.abc import Sequence


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
