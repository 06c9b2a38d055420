"""Nets that are over before a sleeping thread would be awake.

Time passes on a clock of the nets' own: what is faster does not depend on what else the machine
does, only how soon a worker gets a core.
"""

import ctypes
import time
from collections.abc import Callable

import pytest

from cnnc.backends.native import pool as pools
from cnnc.backends.native.pool import Pool
from tests.backends.nets import COUNTING, Net, compile_net, runtime_with_clock


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    """One whose times its first two words are: together and alone."""
    net = compile_net(COUNTING)
    net.weights[0], net.weights[1] = 10_000, 10_000
    made = runtime_with_clock(net.inputs)
    monkeypatch.setattr(pools, "runtime", lambda: made)
    return net


def test_short_nets_wake_nobody(net: Net) -> None:
    """But for the first, second, fourth, … run that finds workers asleep, and every 1024th."""
    addresses = [each.address for each in (net.weights, net.arena, net.inputs, net.outputs)]
    with Pool(4) as pool:
        net.run(pool)  # starts them
        assert net.outputs[0] == 4
        run = pool.bind(net.address, *addresses, is_short=True)
        together = []
        for number in range(1, 10):
            _wait_for_sleep(pool)
            run()
            together += [number] if net.outputs[0] == 4 else []
            assert net.outputs[0] in (1, 4)
        assert together == [1, 2, 4, 8]


def _wait_for_sleep(pool: Pool) -> None:
    """Until all workers of the pool sleep: the second word of its memory counts them."""
    (crew,) = pool._crews.values()
    sleepers = ctypes.c_uint32.from_address(crew._address + 4)
    until = time.perf_counter() + 300
    while sleepers.value < pool.threads - 1:
        assert time.perf_counter() < until, "workers do not sleep"
        time.sleep(0.001)


def test_short_nets_in_quick_succession_are_shared(net: Net) -> None:
    net.weights[0] = 6_000
    with Pool(2) as pool:
        _expect(net, _bound(net, pool), 2)


def test_what_is_slower_together_runs_alone(net: Net) -> None:
    """As where cores hear of each other late."""
    net.weights[0] = 14_000
    with Pool(2) as pool:
        _expect(net, _bound(net, pool), 1)


def test_what_becomes_faster_together_is_shared_again(net: Net) -> None:
    """Workers sleep while it runs alone: runs that wake them tell what has changed."""
    with Pool(2) as pool:
        run = _bound(net, pool)
        net.weights[0], net.weights[1] = 14_000, 10_000
        _expect(net, run, 1)
        _wait_for_sleep(pool)
        net.weights[0], net.weights[1] = 6_000, 10_000
        _expect(net, run, 2)


def _bound(net: Net, pool: Pool) -> Callable[[], None]:
    addresses = [each.address for each in (net.weights, net.arena, net.inputs, net.outputs)]
    return pool.bind(net.address, *addresses, is_short=True)


def _expect(net: Net, run: Callable[[], None], threads: int) -> None:
    """Nine of ten in a thousand runs come to be computed by so many threads.

    Not all: runs try the other way now and then, and a worker the system leaves no core to sleeps.
    """
    until = time.perf_counter() + 300
    while _counts(net, run, 1000).count(threads) < 900:
        assert time.perf_counter() < until, f"it is not computed by {threads} threads"


def _counts(net: Net, run: Callable[[], None], runs: int) -> list[int]:
    """How many threads computed each of so many runs, one right after the other."""
    counts = []
    for _ in range(runs):
        run()
        counts.append(net.outputs[0])
    return counts
