"""Times of a compiled network: each layer and the whole, against what the machine can do."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnc import driver
from cnnc.base.report import Json
from cnnc.base.target import Target
from cnnc.compiled import Compiled
from cnnc.html import Printer, table_html, text_html
from cnnc.listing import operator_text
from cnnc.lowering.lowered import Layer
from cnnc.memory import aligned, drawn, packed
from cnnc.network import Network
from cnnc.table import Column, Table, count_text, seconds_text, shorten

if TYPE_CHECKING:
    from cnnc.backends.native.peak import Peak

Array = NDArray[np.generic]
Call = Callable[[], None]
Progress = Callable[[int, int], None]

SLICE = 1e-3
"""Seconds one measurement lasts at least: shorter calls are repeated."""
MIN_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of a call: the median, the fastest, and the middle half over the median."""

    seconds: float
    best: float
    spread: float

    @staticmethod
    def of(samples: Sequence[float]) -> "Timing":
        """The summary of several measurements."""
        middle = statistics.median(samples)
        low, _, high = statistics.quantiles(samples, n=4) if len(samples) > 1 else [middle] * 3
        return Timing(middle, min(samples), (high - low) / middle if middle else 0.0)


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer on one thread. `bytes` are its operands and result; `bound_seconds` is the least
    time the machine's peak and its memory allow, `limit` which of the two is scarce."""

    name: str
    op: str
    algorithm: str
    macs: int
    bytes: int
    timing: Timing
    bound_seconds: float
    limit: str

    @property
    def gflops(self) -> float:
        """Billions of floating point operations a second in the fastest measurement.

        The machine's peak is the best of several measurements too: best is held against best.
        """
        return 2e-9 * self.macs / self.timing.best


@dataclass(frozen=True, slots=True)
class Machine:
    """Measured limits: of one thread, which times the layers, and of all threads together."""

    one: "Peak"
    all: "Peak"

    def level(self, size: int) -> tuple[str, float]:
        """The nearest level that holds so many bytes, and bytes a second read from there.

        Levels are measured with data that fills half of them.
        """
        levels = self.one.bandwidths
        chosen = next((level for level in levels[:-1] if size <= 2 * level.bytes), levels[-1])
        return chosen.level, chosen.gb_per_s * 1e9


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Times of a network; `total` is the whole on all its threads, layers are timed on one.

    `macs` are the multiply-accumulates of one run. Without layers, only the whole can run. What a
    GPU can do is not measured: `machine` is None there.
    """

    net: str
    backend: str
    threads: int
    batch: int
    macs: int
    machine: Machine | None
    layers: tuple[LayerTime, ...]
    total: Timing

    def format(self) -> str:
        """The table of layers, the total, and what the machine can do."""
        return f"{self._table()}\n\n{self._summary()}" if self.layers else self._summary()

    def __str__(self) -> str:
        return self.format()

    def _repr_html_(self) -> str:
        table = table_html(self._table()) if self.layers else ""
        return table + text_html(self._summary())

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        printer.text(self.format())

    def _table(self) -> Table:
        columns = [Column("layer"), Column("operator"), Column("algorithm")]
        titles = ("time", "± spread", "best", "MACs", "GFLOP/s")
        columns += [Column(title, True) for title in titles]
        if self.machine:
            columns += [Column("of peak", True), Column("of limit", True), Column("limit")]
        rows = []
        for layer in self.layers:
            row = [
                *(layer.name, shorten(layer.op, 40), layer.algorithm),
                *(seconds_text(layer.timing.seconds), f"{layer.timing.spread:.0%}"),
                seconds_text(layer.timing.best),
                *(count_text(layer.macs), f"{layer.gflops:.1f}" if layer.macs else ""),
            ]
            if self.machine:
                of_peak = layer.gflops / self.machine.one.gflops
                row.append(f"{of_peak:.0%}" if layer.macs else "")
                row += [f"{layer.bound_seconds / layer.timing.best:.0%}", layer.limit]
            rows.append(row)
        return Table(columns, rows)

    def _summary(self) -> str:
        gflops = 2e-9 * self.macs / self.total.seconds
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        layers = sum(layer.timing.seconds for layer in self.layers)
        if self.machine is None:
            lines = [
                f"{self.net}, batch {self.batch}, {self.backend}: "
                f"{seconds_text(self.total.seconds)} ± {self.total.spread:.0%}, "
                f"{gflops:.1f} GFLOP/s, with copies of inputs and outputs",
                f"layers alone: {seconds_text(layers)}, each with its launch and a wait",
            ]
            return "\n".join(lines[: 2 if self.layers else 1])
        one = self.machine.one
        levels = ", ".join(f"{each.level} {each.gb_per_s:.0f} GB/s" for each in one.bandwidths)
        return "\n".join(
            [
                f"{self.net}, batch {self.batch}, {threads}: {seconds_text(self.total.seconds)} "
                f"± {self.total.spread:.0%}, {gflops:.1f} GFLOP/s, "
                f"{gflops / self.machine.all.gflops:.0%} of the peak of {threads}",
                *(
                    [
                        f"layers alone on one thread: {seconds_text(layers)}; "
                        "GFLOP/s, of peak and of limit are those of the best measurement"
                    ]
                    if self.layers
                    else []
                ),
                f"measured, one thread: peak {one.gflops:.1f} GFLOP/s; reads {levels}",
            ]
        )

    def to_json(self) -> dict[str, Json]:
        """The report as plain data; seconds, and operations or bytes a second."""
        machine = self.machine
        return {
            "net": self.net,
            "backend": self.backend,
            "threads": self.threads,
            "batch": self.batch,
            "macs": self.macs,
            "seconds": self.total.seconds,
            "spread": self.total.spread,
            "peak_gflops": machine.one.gflops if machine else None,
            "peak_gflops_all_threads": machine.all.gflops if machine else None,
            "gb_per_s": {each.level: each.gb_per_s for each in machine.one.bandwidths}
            if machine
            else None,
            "layers": [
                {
                    "name": layer.name,
                    "op": layer.op,
                    "algorithm": layer.algorithm,
                    "macs": layer.macs,
                    "bytes": layer.bytes,
                    "seconds": layer.timing.seconds,
                    "best_seconds": layer.timing.best,
                    "spread": layer.timing.spread,
                    "gflops": layer.gflops,
                    "of_peak": layer.gflops / machine.one.gflops if machine else None,
                    "bound_seconds": layer.bound_seconds,
                    "limit": layer.limit,
                }
                for layer in self.layers
            ],
        }


def bench(
    network: Network,
    seconds: float = 2.0,
    *,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> BenchReport:
    """Time every layer and the whole network on random data, interleaved, for about so long.

    A network that was loaded compiled is timed as a whole. UserError for the reference.
    """
    alone = _layer_calls(network, seed)
    calls = [*(call for _, call in alone), whole_call(network, seed)]
    samples = _measure(calls, seconds, progress)
    target = driver.find_target(network.options.target)
    machine = None if target.is_gpu else measure_machine(target, network.options.threads)
    layers = tuple(
        _layer_time(network, layer, times, machine)
        for (layer, _), times in zip(alone, samples[:-1], strict=True)
    )
    return BenchReport(
        *(network.name, network.options.backend, network.options.threads, network.batch),
        *(network.layers.macs, machine, layers, Timing.of(samples[-1])),
    )


def measure_machine(target: Target, threads: int) -> Machine:
    """What this machine can do, on one thread and on so many."""
    one = driver.measure_peak(target, 1)
    return Machine(one, driver.measure_peak(target, threads) if threads > 1 else one)


def _layer_calls(network: Network, seed: int) -> list[tuple[Layer, Call]]:
    """Every layer with a call of it alone; none for a network that only runs whole."""
    if not isinstance(network, Compiled):
        return []
    return [(layer, _kernel_call(network, layer, seed)) for layer in network.lowered.layers]


def _kernel_call(network: Compiled, layer: Layer, seed: int) -> Call:
    """A call of one layer's kernel on random operands and its own constants."""
    random = np.random.default_rng(seed)
    buffers: list[Array] = []
    *params, out = layer.kernel.params
    for param, operand in zip(params, layer.operands, strict=False):
        values = operand.constant
        if values is None:
            values = drawn(random, param.shape, param.dtype)
        buffers.append(packed(param, values))
    buffers.append(aligned(out.layout.size(out.shape), out.dtype.numpy))
    buffers[-1][:] = 0
    position = network.lowered.program.steps[layer.step].kernel
    return network.executable.bind_kernel(position, buffers)


def whole_call(network: Network, seed: int) -> Call:
    """A run of the whole network on random inputs."""
    random = np.random.default_rng(seed)
    takes, fills = (
        [end.type for end in ends] for ends in (network.interface.inputs, network.interface.outputs)
    )
    inputs = [drawn(random, each.shape, each.dtype) for each in takes]
    outputs = [np.empty(each.shape, each.dtype.numpy) for each in fills]
    return network.runner.bind(inputs, outputs)


def _measure(calls: Sequence[Call], seconds: float, progress: Progress) -> list[list[float]]:
    """Seconds of each call, measured in turn so that slow moments meet all alike.

    Every measurement follows a call that is not timed: a layer finds its operands in the caches,
    as it does in a network that fits them. Progress counts calls where these take longer than the
    time that was asked for, the first ones too, of which nothing is kept.
    """
    least = len(calls) * MIN_ROUNDS
    repeats = []
    for number, call in enumerate(calls, start=1):
        repeats.append(repeats_of(call))
        progress(number, len(calls) + least)
    samples: list[list[float]] = [[] for _ in calls]
    start = time.perf_counter()
    for round_ in range(10_000):
        for number, (call, count, found) in enumerate(zip(calls, repeats, samples, strict=True)):
            call()
            found.append(seconds_of(call, count))
            spent = time.perf_counter() - start
            done = min(spent / seconds * least, round_ * len(calls) + number + 1)
            progress(len(calls) + min(int(done), least), len(calls) + least)
        if spent >= seconds and round_ + 1 >= MIN_ROUNDS:
            break
    return samples


def repeats_of(call: Call) -> int:
    """How often to call so that a measurement is long enough; warms up on the way."""
    call()
    count = 1
    while (spent := seconds_of(call, count) * count) < SLICE:
        count = max(count * 2, round(count * SLICE / max(spent, SLICE / 64)))
    return count


def seconds_of(call: Call, count: int) -> float:
    """Seconds of one call, from so many in a row."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def _layer_time(
    network: Network, layer: Layer, times: Sequence[float], machine: Machine | None
) -> LayerTime:
    """What a layer takes of a whole run, which calls its kernel for each sample that is apart."""
    assert isinstance(network, Compiled)
    origin, repeats = layer.kernel.origin, network.lowered.program.repeats
    macs = repeats * origin.macs
    moved = repeats * sum(
        param.layout.alone.size(param.shape) * param.dtype.bytes for param in layer.kernel.params
    )
    computing, moving, limit = 0.0, 0.0, ""
    if machine:
        level, bandwidth = machine.level(moved // repeats)
        computing = 2 * macs / (machine.one.gflops * 1e9)
        moving = moved / bandwidth
        limit = "compute" if computing >= moving else level
    return LayerTime(
        name=layer.node.name,
        op=operator_text(layer.node.op),
        algorithm=origin.algorithm,
        macs=macs,
        bytes=moved,
        timing=Timing.of([repeats * each for each in times]),
        bound_seconds=max(computing, moving),
        limit=limit,
    )
