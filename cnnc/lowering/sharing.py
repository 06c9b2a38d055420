"""Which steps threads share, and before which of them they wait for each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnnc.base.estimate import step_cycles
from cnnc.base.target import Target
from cnnc.loop.kernel import Kernel, Place, Region

SHORTEST_STEP = 15_000
"""Estimated cycles from which on a step is shared: others are over while a thread that the system
has put aside for a moment would still be waited for."""
SHORTEST_STEP_OF_SHORT = 2_000
"""The same in nets that are short: they are shared only where that turns out to be faster."""
SHORTEST_NET = 40_000
"""Estimated cycles from which on any step is."""
LONG_NET = 300_000
"""Estimated cycles from which on sleeping threads are woken: that costs a part of them."""


def share_steps(kernels: Sequence[Kernel], target: Target) -> list[bool]:
    """Whether threads share each step of a program; none does where code is made for one."""
    estimates = [_estimate(kernel, target) for kernel in kernels]
    total = sum(estimates)
    if target.is_small or total < SHORTEST_NET:
        return [False] * len(kernels)
    shortest = SHORTEST_STEP_OF_SHORT if total < LONG_NET else SHORTEST_STEP
    return [estimate >= shortest for estimate in estimates]


def is_short(kernels: Sequence[Kernel], target: Target, repeats: int = 1) -> bool:
    """Whether a program, run so often, is over before sleeping threads would be awake."""
    return repeats * sum(_estimate(kernel, target) for kernel in kernels) < LONG_NET


def _estimate(kernel: Kernel, target: Target) -> float:
    """Cycles on one thread, at the peak of the machine."""
    moved = sum(param.size * param.dtype.bytes for param in kernel.params)
    return step_cycles(kernel.origin.macs, moved, target)


@dataclass(frozen=True, slots=True)
class _Access:
    """Memory that a step reads or writes, by all threads or by the first alone."""

    region: Region
    index: int
    start: int
    end: int
    writes: bool
    shared: bool

    def meets(self, other: "_Access") -> bool:
        """Whether one must wait for the other: they overlap, one writes, and threads differ."""
        same = (self.region, self.index) == (other.region, other.index)
        overlap = same and self.start < other.end and other.start < self.end
        return overlap and (self.writes or other.writes) and (self.shared or other.shared)


def place_barriers(
    kernels: Sequence[Kernel], places: Sequence[Sequence[Place]], shared: Sequence[bool]
) -> list[bool]:
    """Whether all threads wait before each step for what was done since they last did.

    They do where it reads or writes what another thread may still be writing, or writes what
    another one may still be reading.
    """
    barriers: list[bool] = []
    since: list[_Access] = []
    for kernel, where, is_shared in zip(kernels, places, shared, strict=True):
        accesses = _accesses(kernel, where, is_shared)
        waits = any(new.meets(old) for new in accesses for old in since)
        since = accesses if waits else since + accesses
        barriers.append(waits)
    return barriers


def _accesses(kernel: Kernel, places: Sequence[Place], shared: bool) -> list[_Access]:
    """What a step touches; weights are only ever read."""
    return [
        _Access(
            *(place.region, place.index, place.offset),
            place.offset + param.size * param.dtype.bytes,
            param.name in kernel.outputs,
            shared,
        )
        for param, place in zip(kernel.params, places, strict=True)
        if place.region is not Region.WEIGHTS
    ]
