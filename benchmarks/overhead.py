"""What calling a compiled network from Python costs beyond the work itself.

`python benchmarks/overhead.py` prints for each network the median time of `net(image)`, of
`net(image, out=…)`, of `call()` after `call = net.bind(image)`, and of the same machine code called
over and over from machine code.
"""

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable
from functools import partial

import llvmlite.binding as llvm
import numpy as np
from zoo import ZOO, zoo_file

import cnnc
from cnnc.backends.native.backend import NativeRunner, address_of, aligned_bytes
from cnnc.backends.native.host import host_target
from cnnc.backends.native.runtime import jit_compile

ONE_LAYER = """cnn 1
net one_layer {
  input x: f32[N, 1, 4, 4]
  output y = x -> relu
}
"""
_LOOP = """
define void @often(ptr %net, ptr %weights, ptr %arena, ptr %in, ptr %out, i64 %times) {
  br label %loop
loop:
  %time = phi i64 [ 0, %0 ], [ %next, %loop ]
  call void %net(ptr %weights, ptr %arena, ptr %in, ptr %out, i64 0, i64 1, ptr null)
  %next = add i64 %time, 1
  %more = icmp ult i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
SLICE = 2e-4
"""Seconds of one sample: most fit between what else the machine does."""


def main() -> None:
    """Measure a net of one layer and those of the zoo that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", type=zoo_file, default=[ZOO / "lenet5.cnn"])
    parser.add_argument("--samples", type=int, default=1001, help="medians are of so many; 1001")
    given = parser.parse_args()
    loop = jit_compile(_LOOP, host_target())
    ways = ("work", "call", "out=", "bound")
    beyond_work = [f"{way} over" for way in ways[1:]]
    print(f"{'net':<16}", *(f"{way:>10}" for way in (*ways, *beyond_work)), "  microseconds")
    for path in (None, *given.nets):
        model = cnnc.load(path) if path else cnnc.load_text(ONE_LAYER)
        net = model.compile(threads=1)
        times = [1e6 * each for each in _times(net, loop, given.samples)]
        beyond = [each - times[0] for each in times[1:]]
        print(f"{net.name:<16}", *(f"{each:>10.2f}" for each in (*times, *beyond)))


def _times(net: cnnc.Compiled, loop: llvm.ExecutionEngine, samples: int) -> list[float]:
    """Seconds of the work, of a call, of one with `out`, and of a bound one; taken in turns."""
    (shape,) = net.inputs.values()
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    result = net(image)
    often = _machine_loop(net, loop, image, result)
    ways: list[Callable[[int], None]] = [
        often,
        partial(_call, net, image),
        partial(_call_out, net, image, result),
        partial(_call_bound, net.bind(image)),
    ]
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(samples):
        for way, seconds in zip(ways, found, strict=True):
            seconds.append(_seconds(way))
    return [statistics.median(seconds) for seconds in found]


def _machine_loop(
    net: cnnc.Compiled,
    loop: llvm.ExecutionEngine,
    image: np.ndarray,
    results: dict[str, np.ndarray],
) -> Callable[[int], None]:
    runner = net.runner
    assert isinstance(runner, NativeRunner)
    arena = aligned_bytes(runner.image.arena_bytes + runner.image.scratch_bytes + 64)
    inputs = (ctypes.c_int64 * 2)(address_of(image), len(image))
    outputs = (ctypes.c_int64 * len(results))(*map(address_of, results.values()))
    pointer = ctypes.c_void_p
    often = ctypes.CFUNCTYPE(None, *[pointer] * 5, ctypes.c_int64)(
        loop.get_function_address("often")
    )
    weights = address_of(runner.image.weights)

    def run(times: int) -> None:
        often(runner.address, weights, address_of(arena), inputs, outputs, times)

    return run


def _call(net: cnnc.Compiled, image: np.ndarray, times: int) -> None:
    for _ in range(times):
        net(image)


def _call_out(
    net: cnnc.Compiled, image: np.ndarray, out: dict[str, np.ndarray], times: int
) -> None:
    for _ in range(times):
        net(image, out=out)


def _call_bound(call: cnnc.BoundCall, times: int) -> None:
    for _ in range(times):
        call()


def _seconds(way: Callable[[int], None]) -> float:
    """Seconds of one repetition, out of as many as fill a slice."""
    times = 2
    while True:
        start = time.perf_counter()
        way(times)
        took = time.perf_counter() - start
        if took >= SLICE:
            return took / times
        times *= 2


if __name__ == "__main__":
    main()
