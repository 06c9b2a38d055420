"""The whole net, before and after."""

from dataclasses import dataclass, replace
from pathlib import Path

from cnnc.bench import Timing, repeats_of, seconds_of, whole_call
from cnnc.compiled import Compiled
from cnnc.ir.graph import Graph
from cnnc.options import Options

ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Whole:
    """Times of a net without and with its tune file."""

    default: Timing
    tuned: Timing


def time_whole(graph: Graph, options: Options, path: Path) -> Whole:
    """Compile a net twice, and time it in turn."""
    nets = [Compiled(graph, replace(options, tuning=each)) for each in (None, path)]
    calls = [whole_call(net, 0) for net in nets]
    repeats = [repeats_of(call) for call in calls]
    samples: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for call, count, found in zip(calls, repeats, samples, strict=True):
            call()
            found.append(seconds_of(call, count))
    return Whole(*map(Timing.of, samples))
