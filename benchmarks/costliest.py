"""The costliest distinct layers of the zoo, each against what the machine allows.

    python benchmarks/costliest.py [--seconds 2] [--top 10] [--nets resnet50,unet] [--json FILE]
    python benchmarks/costliest.py --target x86-64-v3 --exact --macs 50

Every layer of every network is timed alone on one thread, as `cnnc bench` does, and distinct layers
are sorted by what one image of each network spends in them. The floor of a layer is the larger of
two times: its multiply-adds at the measured peak, and its bytes at the measured bandwidth of the
nearest level of memory that holds them. For Winograd's algorithm the multiply-adds are its own, and
the gain is the time of the plain convolution's floor over the time reached. The peak is that of the
processor that is compiled for: that of AVX2 with `--target x86-64-v3`.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

from zoo import ZOO, zoo_file

import cnnc
from cnnc import driver
from cnnc.bench import LayerTime, Machine, bench, measure_machine
from cnnc.compiled import Compiled
from cnnc.listing import operator_text
from cnnc.lowering.lowered import Layer
from cnnc.ops.fused import Fused
from cnnc.ops.winograd import Winograd


@dataclass(frozen=True)
class Cost:
    """A distinct layer: seconds of one run, how often it runs in how many networks, its floor.

    `direct_floor` is that of the sums that define the operator; `limit` says what the floor is.
    """

    layer: str
    input: str
    networks: tuple[str, ...]
    runs: int
    seconds: float
    floor: float
    direct_floor: float
    limit: str
    algorithm: str

    @property
    def total(self) -> float:
        """Seconds over all networks, one image each."""
        return self.seconds * self.runs


def _files(names: str) -> list[Path]:
    return [zoo_file(name) for name in names.split(",")]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each network; 2")
    parser.add_argument("--top", type=int, default=10, help="layers to show; 10")
    parser.add_argument("--nets", type=_files, help="names, with commas; all of the zoo")
    parser.add_argument("--macs", type=float, default=0, help="layers of so many millions at least")
    parser.add_argument("--target", default="native", help="family to compile for; native")
    parser.add_argument("--exact", action="store_true", help="no Winograd")
    parser.add_argument("--json", type=Path, help="a file for all layers")
    options = parser.parse_args()
    found: dict[str, Cost] = {}
    for path in options.nets or sorted(ZOO.glob("*.cnn")):
        print(f"{path.stem} …", flush=True)
        loaded = cnnc.load(path)
        network = loaded.compile(options.target, exact=options.exact)
        for cost in measure(path.stem, network, options.seconds, options.macs * 1e6):
            key = f"{cost.layer} {cost.input}"
            old = found.get(key)
            found[key] = _together(old, cost) if old else cost
    costs = sorted(found.values(), key=lambda cost: -cost.total)
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1))
    print(table(costs[: options.top], sum(cost.total for cost in costs)))


def measure(name: str, network: Compiled, seconds: float, macs: float = 0) -> Iterator[Cost]:
    """The layers of one network of at least so many multiply-adds, each with its best time."""
    report = bench(network, seconds)
    machine = measure_machine(driver.find_target(network.options.target), 1)
    for layer, time in zip(network.lowered.layers, report.layers, strict=True):
        if time.macs >= macs:
            yield _cost(name, layer, time, machine)


def _cost(name: str, layer: Layer, time: LayerTime, machine: Machine) -> Cost:
    moving = time.bytes / machine.level(time.bytes)[1]
    computing = 2 * _own_macs(layer) / (machine.one.gflops * 1e9)
    plain = 2 * time.macs / (machine.one.gflops * 1e9)
    shape = "×".join(map(str, layer.node.inputs[0].type.shape[1:]))
    limit = "arithmetic" if computing >= moving else machine.level(time.bytes)[0]
    return Cost(
        *(operator_text(layer.node.op), shape, (name,), 1, time.timing.best),
        *(max(computing, moving), plain, limit, time.algorithm),
    )


def _own_macs(layer: Layer) -> int:
    """Multiply-adds of the products that the algorithm computes, without its transforms."""
    op, x = layer.node.op, layer.node.inputs[0].type
    root = op.root if isinstance(op, Fused) else op
    if not isinstance(root, Winograd):
        return layer.kernel.origin.macs
    tiles = x.shape[0] * prod(axis.count for axis in root.axes(x))
    return tiles * prod(root.tile) * prod(root.phases) * x.channels * root.channels


def _together(one: Cost, other: Cost) -> Cost:
    networks = tuple(dict.fromkeys(one.networks + other.networks))
    best = min(one, other, key=lambda cost: cost.seconds)
    return Cost(
        *(one.layer, one.input, networks, one.runs + other.runs, best.seconds),
        *(one.floor, one.direct_floor, one.limit, one.algorithm),
    )


def table(costs: list[Cost], total: float) -> str:
    """Markdown."""
    head = ("layer", "input", "runs", "of all", "floor", "limit", "time", "of floor", "gain")
    rows = [
        (
            cost.layer,
            cost.input,
            str(cost.runs),
            f"{cost.total / total:.0%}",
            f"{cost.floor * 1e3:.3f} ms",
            cost.limit,
            f"{cost.seconds * 1e3:.3f} ms",
            f"{cost.floor / cost.seconds:.0%}",
            f"{cost.direct_floor / cost.seconds:.2f}×" if cost.direct_floor > cost.floor else "",
        )
        for cost in costs
    ]
    marks = ["---"] * 2 + ["--:"] * 3 + ["---"] + ["--:"] * 3
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, tuple(marks), *rows])


if __name__ == "__main__":
    main()
