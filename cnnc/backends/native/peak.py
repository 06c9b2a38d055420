"""What this machine can do at best: multiply-adds a second, and bytes read a second."""

from collections.abc import Callable, Iterator
from itertools import count
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.native.pool import shared_pool
from cnnc.backends.native.runtime import LINE, jit_compile
from cnnc.backends.native.targets import runs_here
from cnnc.base.dtype import DType
from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.base.templates import fill

STREAMS = 8
"""Vectors read in one step: enough additions under way to wait for memory only."""
_MIB = 1 << 20


@record
class Bandwidth:
    """Reading from a level of memory with all threads: `bytes` is what they read over and over."""

    level: str
    bytes: int
    gb_per_s: float


@record
class Peak:
    """The best of several measurements in float32; a multiply-add is two operations."""

    threads: int
    vector_bits: int
    gflops: float
    bandwidths: tuple[Bandwidth, ...]


@record
class PeakView:
    """What the templates may see: a vector's type and suffix, chains, bytes apart."""

    vector: str
    suffix: str
    has_fma: bool
    chains: int
    streams: int
    step: int
    line: int


def measure_peak(target: Target, threads: int, seconds: float = 0.3) -> Peak:
    """The peak of code for the target on so many threads; takes about so many seconds.

    It is a user's error if this machine cannot run the target's code.
    """
    if not runs_here(target):
        raise fail("E0801", f"this machine cannot run code for `{target.cpu}`")
    meter = _Meter(target, threads, seconds / 5)
    gflops = meter.gflops()
    return Peak(threads, target.vector_bits, gflops, tuple(meter.bandwidths()))


def peak_view(target: Target) -> PeakView:
    """Chains for the target: they fill most registers, to cover the longest latencies there are."""
    lanes = target.lanes(DType.F32)
    chains = 24 if target.vector_registers >= 32 else 12
    return PeakView(
        vector=f"<{lanes} x float>",
        suffix=f"v{lanes}f32",
        has_fma=target.has_fma,
        chains=chains,
        streams=STREAMS,
        step=STREAMS * target.vector_bits // 8,
        line=LINE,
    )


def peak_module_text(target: Target) -> str:
    """LLVM IR of the two measured loops, as nets `cnnc_peak_compute` and `cnnc_peak_read`."""
    view = peak_view(target)
    return "\n".join(fill(f"native/{name}.ll", view) for name in ("peak", "read"))


class _Meter:
    """The measured code and the time each measurement may take."""

    def __init__(self, target: Target, threads: int, seconds: float) -> None:
        self.target = target
        self.threads = threads
        self.seconds = seconds
        self.view = peak_view(target)
        self.pool = shared_pool(threads)
        self.engine = jit_compile(peak_module_text(target), target)

    def gflops(self) -> float:
        """Multiply-adds in registers."""
        head = aligned(3 * LINE)
        head[LINE // 4 : 2 * LINE // 4] = 0.5
        head[2 * LINE // 4 :] = 0.25
        chains = aligned(self.threads * self.view.chains * LINE)
        chains[:] = 1.0
        turn = self._seconds_a_turn("cnnc_peak_compute", head, chains)
        operations = 2 * self.target.lanes(DType.F32) * self.view.chains * self.threads
        return operations / turn / 1e9

    def bandwidths(self) -> Iterator[Bandwidth]:
        """Each level of memory that a thread's share fits into."""
        parts = dict(self._parts())
        memory = aligned(max(parts.values()) * self.threads)
        memory[:] = 1.0
        for level, part in parts.items():
            head = aligned(LINE)
            head.view(np.int64)[1] = part
            turn = self._seconds_a_turn("cnnc_peak_read", head, memory)
            total = part * self.threads
            yield Bandwidth(level, total, total / turn / 1e9)

    def _parts(self) -> Iterator[tuple[str, int]]:
        """Bytes each thread reads to stay in a level, well inside it and well outside the last."""
        target, unit = self.target, LINE * STREAMS
        yield "L1", target.l1_bytes // 2 // unit * unit
        yield "L2", target.l2_bytes // 2 // unit * unit
        shared = max(2 * target.l2_bytes, target.l3_bytes // 4 // self.threads)
        if shared * self.threads <= target.l3_bytes // 2:
            yield "L3", shared // unit * unit
        everything = min(max(64 * _MIB, 4 * target.l3_bytes), 1024 * _MIB)
        yield "memory", everything // self.threads // unit * unit

    def _seconds_a_turn(
        self, name: str, head: NDArray[np.float32], memory: NDArray[np.float32]
    ) -> float:
        address = self.engine.get_function_address(name)
        results = aligned(self.threads * STREAMS * LINE)
        turns = head.view(np.int64)

        def run(amount: int) -> None:
            turns[0] = amount
            self.pool.run(address, head.ctypes.data, memory.ctypes.data, 0, results.ctypes.data)

        return _best(run, self.seconds)


def _best(run: Callable[[int], None], seconds: float) -> float:
    """Shortest time of one turn; runs are short, to fit between what else the machine does."""
    turns, took = 1, min(_timed(run, 1) for _ in range(3))
    while took < seconds / 40:
        turns *= 2 if took > seconds / 400 else 8
        took = min(_timed(run, turns) for _ in range(2))
    best, end = took, perf_counter() + seconds
    for repetition in count():
        if repetition >= 3 and perf_counter() > end:
            break
        best = min(best, _timed(run, turns))
    return best / turns


def _timed(run: Callable[[int], None], turns: int) -> float:
    start = perf_counter()
    run(turns)
    return perf_counter() - start


def aligned(size: int) -> NDArray[np.float32]:
    """Float32 zeros that fill so many bytes and start at a multiple of LINE."""
    raw = np.zeros(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(np.float32)
