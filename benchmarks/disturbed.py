"""How latency suffers when another process keeps one of the cores busy.

`python benchmarks/disturbed.py` prints median and 95th percentile of one call, undisturbed and with
a loop that never ends pinned to the last core, for one thread and for as many as there are cores.
A round in which still other processes computed is repeated some times; the last column says how
much of a core they had in the rounds that count. Linux only.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from zoo import ZOO, zoo_file

import cnnc

_BUSY = """
import os
os.sched_setaffinity(0, {{{core}}})
while os.getppid() == {parent}:  # it ends with whoever measures
    for _ in range(1_000_000):
        pass
"""
_SETTLE = 0.3
"""Seconds until the system has noticed a new process."""
_QUIET = 0.08
"""Part of a core that other processes may have in a round."""
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure the nets named on the command line and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    nets = [ZOO / "resnet18.cnn", ZOO / "mobilenet_v2.cnn"]
    parser.add_argument("nets", nargs="*", type=zoo_file, default=nets)
    parser.add_argument("--seconds", type=float, default=0.5, help="time of one round")
    parser.add_argument("--tries", type=int, default=20, help="times a round is repeated at most")
    parser.add_argument("--rounds", type=int, default=8, help="rounds of each kind, in turns")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{'net':<16}{'threads':>8}{'undisturbed ms':>22}{'disturbed ms':>22}", end="")
    print(f"{'ratio':>14}{'others':>8}")
    print(" " * 24 + f"{'median':>11}{'95 %':>11}" * 2 + f"{'median':>7}{'95 %':>7}")
    for path in given.nets:
        for threads in sorted({1, len(cores)}):
            bench = _Bench(path, threads, cores[-1], given.seconds, given.tries)
            alone, beside, others = bench.measure(given.rounds)
            quiet, loud = _summary(alone), _summary(beside)
            figures = "".join(f"{1e3 * each:>11.2f}" for each in (*quiet, *loud))
            ratios = "".join(f"{b / a:>7.2f}" for a, b in zip(quiet, loud, strict=True))
            print(f"{path.stem:<16}{threads:>8}{figures}{ratios}{others:>8.0%}", flush=True)


class _Bench:
    """One net on so many threads, and the core that is disturbed."""

    def __init__(self, path: Path, threads: int, core: int, seconds: float, tries: int) -> None:
        self.net = cnnc.load(path).compile(threads=threads)
        random = np.random.default_rng(0)
        self.images = {
            end: random.standard_normal(shape, np.float32) for end, shape in self.net.inputs.items()
        }
        self.core, self.seconds, self.tries = core, seconds, tries

    def measure(self, rounds: int) -> tuple[list[float], list[float], float]:
        """Seconds of each call, undisturbed and disturbed, and the share of other processes."""
        alone: list[float] = []
        beside: list[float] = []
        others = []
        for _ in range(rounds):
            for times, core in ((alone, None), (beside, self.core)):
                found, share = self._quiet_round(core)
                times += found
                others.append(share)
        return alone, beside, statistics.mean(others)

    def _quiet_round(self, core: int | None) -> tuple[list[float], float]:
        """The first quiet round, or the quietest."""
        tried: list[tuple[list[float], float]] = []
        while len(tried) < self.tries and (not tried or tried[-1][1] > _QUIET):
            with nullcontext() if core is None else _disturbance(core):
                tried.append(self._round(core))
        return min(tried, key=lambda one: one[1])

    def _round(self, core: int | None) -> tuple[list[float], float]:
        """Seconds of calls one after the other, and the part of a core that others had."""
        self.net(self.images)
        times: list[float] = []
        begin, before, own = time.perf_counter(), _worked(), time.process_time()
        while (start := time.perf_counter()) < begin + self.seconds:
            self.net(self.images)
            times.append(time.perf_counter() - start)
        took, own = time.perf_counter() - begin, time.process_time() - own
        worked = sum(_worked()) - sum(before)
        if core is not None:  # what this process did not take there, the disturbance did
            worked -= _worked()[core] - before[core]
            own = min(own, worked)
        return times, max(0.0, worked - own) / took


def _worked() -> list[float]:
    """Seconds that each core has spent on processes since the system started."""
    lines = Path("/proc/stat").read_text().splitlines()[1:]
    cores = [line.split() for line in lines if line.startswith("cpu")]
    return [sum(map(int, words[1:4])) / _TICKS for words in cores]


@contextmanager
def _disturbance(core: int) -> Iterator[None]:
    """A process that keeps the core busy."""
    busy = subprocess.Popen([sys.executable, "-c", _BUSY.format(core=core, parent=os.getpid())])
    try:
        time.sleep(_SETTLE)
        yield
    finally:
        busy.kill()
        busy.wait()


def _summary(times: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    main()
