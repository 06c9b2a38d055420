"""Elementary functions on all 2^32 float32 arguments: `python -m tests.lowering.exhaustive exp`.

Prints each function's largest error in units in the last place, with a fused multiply-add and
without, and the argument that has it; exits with 1 if one exceeds its bound. Takes a minute or
two for each function; without names, all of them in turn.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tests.lowering.support import BOUNDS, Reals, Singles, compile_native

CHUNK = 2**20
"""Arguments at a time: what stays in the caches."""


@dataclass(slots=True)
class Worst:
    """The largest error so far, in units in the last place, and its argument."""

    error: float = 0.0
    argument: float = 0.0

    def __str__(self) -> str:
        return f"{self.error:.3f} ulp at {self.argument!r}"


def all_floats(step: int = 1) -> Iterator[Singles]:
    """Every bit pattern in chunks, or every `step`-th chunk."""
    for start in range(0, 2**32, CHUNK * step):
        yield np.arange(start, start + CHUNK, dtype=np.uint64).astype(np.uint32).view(np.float32)


def fast_ulps(found: Singles, exact: Reals) -> Reals:
    """As `support.ulps`, with the unit read off the exponent's bits."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        exponent = np.minimum(rounded.view(np.uint32) & 0x7F800000, 0x7F000000)
        unit = np.maximum(exponent.view(np.float32) * 2.0**-23, np.float32(2.0**-149))
        distance: Reals = np.abs(found - exact) / unit
    odd = ~np.isfinite(distance)
    if odd.any():
        same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
        distance[odd] = np.where(same[odd], 0, np.inf)
    return distance


def largest_errors(
    truth: Callable[[Reals], Reals], *found: Callable[[Singles], Singles], step: int = 1
) -> list[Worst]:
    """The largest error of each of several computations of one function."""
    worst = [Worst() for _ in found]
    for x in all_floats(step):
        with np.errstate(all="ignore"):
            exact = truth(x.astype(np.float64))
        for each, run in zip(worst, found, strict=True):
            error = fast_ulps(run(x), exact)
            place = int(np.argmax(error))
            if error[place] > each.error:
                each.error, each.argument = float(error[place]), float(x[place])
    return worst


def main(names: list[str]) -> int:
    """Check the functions; the exit status."""
    status = 0
    for name in names or BOUNDS:
        truth, bound = BOUNDS[name]
        runs = [compile_native(name, CHUNK, fused=fused) for fused in (True, False)]
        worst = largest_errors(truth, *runs)
        fused, plain = map(str, worst)
        print(f"{name:8} fma {fused:42} no fma {plain:42} bound {bound}", flush=True)
        status |= any(each.error > bound for each in worst)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
