"""What it costs threads to wait for each other.

`python benchmarks/barriers.py` prints, for every number of threads up to that of the cores, the
median time of one barrier when all threads are awake, and of a run of a net that does nothing.
"""

import argparse
import os
import statistics
import time

from cnnc.backends.native.host import host_target
from cnnc.backends.native.pool import Pool
from cnnc.backends.native.runtime import jit_compile, runtime

_NET = """
declare void @cnnc_barrier(ptr, i64)

define void @net(ptr %barriers, ptr %arena, ptr %in, ptr %out, i64 %thread, i64 %threads,
                 ptr %barrier) {
  %number = ptrtoint ptr %barriers to i64
  br label %loop
loop:
  %done = phi i64 [ 0, %0 ], [ %next, %body ]
  %more = icmp ult i64 %done, %number
  br i1 %more, label %body, label %end
body:
  call void @cnnc_barrier(ptr %barrier, i64 %threads)
  %next = add i64 %done, 1
  br label %loop
end:
  ret void
}
"""
BARRIERS, SAMPLES = 10_000, 101


def main() -> None:
    """Measure and print."""
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
    runtime()
    engine = jit_compile(_NET, host_target())
    net = engine.get_function_address("net")
    print(f"{'threads':>8}{'barrier ns':>12}{'empty run µs':>14}")
    for threads in range(1, len(os.sched_getaffinity(0)) + 1):
        with Pool(threads) as pool:
            many, none = (_seconds(pool, net, number) for number in (BARRIERS, 0))
        print(f"{threads:>8}{1e9 * (many - none) / BARRIERS:>12.1f}{1e6 * none:>14.2f}")


def _seconds(pool: Pool, net: int, barriers: int) -> float:
    """Seconds of one run with so many barriers."""
    run = pool.bind(net, barriers, 0, 0, 0)
    times = []
    for _ in range(SAMPLES):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
