"""Nets that are over before a sleeping thread would be awake."""

import ctypes
import time
from collections.abc import Callable

from cnnc.backends.native.pool import Pool
from tests.backends.nets import COUNTING, Net, compile_net


def test_short_nets_wake_nobody() -> None:
    """But for the first, second, fourth, … run that finds workers asleep, and every 1024th."""
    net = compile_net(COUNTING)
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
    until = time.perf_counter() + 60
    while sleepers.value < pool.threads - 1:
        assert time.perf_counter() < until, "workers do not sleep"
        time.sleep(0.001)


def test_short_nets_in_quick_succession_are_shared() -> None:
    """Runs that find workers awake, those that wake them, and those that try: some are."""
    net = compile_net(COUNTING)
    assert 2 in _threads_of_runs(net, 6000)[-3000:]


def test_what_is_slower_together_runs_alone() -> None:
    """As where cores hear of each other late."""
    net = compile_net(COUNTING)
    net.weights[0] = 20_000  # turns that each of two threads waits
    counts = _threads_of_runs(net, 1000)
    assert counts[-500:].count(1) > 400


def test_what_becomes_faster_together_is_shared_again() -> None:
    """Workers sleep while it runs alone: runs that wake them tell what has changed."""
    net = compile_net(COUNTING)
    with Pool(2) as pool:
        run = _bound(net, pool)
        net.weights[0], net.weights[1] = 20_000, 0
        assert _counts(net, run, 1000)[-500:].count(1) > 400
        _wait_for_sleep(pool)
        net.weights[0], net.weights[1] = 0, 2_000_000  # longer than what a busy machine adds
        until = time.perf_counter() + 60
        while _counts(net, run, 1000).count(2) < 500:
            assert time.perf_counter() < until, "it still runs alone"


def _threads_of_runs(net: Net, runs: int) -> list[int]:
    """How many threads computed each of so many runs of a short net, one right after the other."""
    with Pool(2) as pool:
        return _counts(net, _bound(net, pool), runs)


def _bound(net: Net, pool: Pool) -> Callable[[], None]:
    addresses = [each.address for each in (net.weights, net.arena, net.inputs, net.outputs)]
    return pool.bind(net.address, *addresses, is_short=True)


def _counts(net: Net, run: Callable[[], None], runs: int) -> list[int]:
    counts = []
    for _ in range(runs):
        run()
        counts.append(net.outputs[0])
    return counts
