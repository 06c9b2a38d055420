"""All tiles that a layer might be given, next to the model that chooses one of them.

    python benchmarks/cuda.py --tiles found.json

measures ResNet-50 and MobileNetV2 at batch 1 and 64 on a GPU; without `--tiles`, fewer of them.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np

from cnnc import driver
from cnnc.backends.cuda.kernel import CudaKernel, Wish
from cnnc.backends.cuda.kernels import igemm_ffma, igemm_mma
from cnnc.backends.cuda.kernels.problem import product_of
from cnnc.backends.cuda.kernels.registry import OFFERS
from cnnc.backends.cuda.kernels.tiles import Plan
from cnnc.backends.cuda.plan import Launch, plan_cuda
from cnnc.loop.task import Task
from gpu.layers import library_of, time_of
from gpu.machine import Machine
from gpu.networks import Job

PARTS = 16
"""Files that are compiled side by side."""
SLOWEST = 1.7
"""Of the least estimate: what should take longer is not measured."""
MOST = 8
"""Tiles and splits of a layer."""
FAMILIES = {
    "igemm_mma": (igemm_mma.plans_of, igemm_mma.make_kernel),
    "igemm_ffma": (igemm_ffma.plans_of, igemm_ffma.make_kernel),
}


@dataclass(frozen=True)
class TileTime:
    """What a tile and split of a layer should take, and takes, in microseconds."""

    net: str
    batch: int
    precision: str
    layer: str
    count: int
    family: str
    tile: str
    threads: int
    splits: int
    estimate: float
    microseconds: float


@dataclass(frozen=True)
class _Candidate:
    launch: Launch
    family: str
    plan: Plan
    count: int


def measure_tiles(job: Job, precision: str) -> list[TileTime]:
    """All plans worth trying for each distinct matrix product of a network."""
    machine = job.machine
    candidates = _candidates(job, f"cuda:sm_{machine.gpu.arch},{precision}")
    parts = [part for start in range(PARTS) if (part := candidates[start::PARTS])]
    found = []
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        folders = [Path(folder, str(number)) for number in range(len(parts))]
        libraries = list(pool.map(partial(_library, machine), folders, parts))
        for part, library in zip(parts, libraries, strict=True):
            for each in part:
                plan, time = each.plan, time_of(library, each.launch)
                tile, layer = plan.tile, each.launch.layer
                who = job.net, job.batch, precision, layer, each.count, each.family
                estimate = 1e6 * plan.seconds
                what = str(tile), tile.threads, plan.splits, estimate, time
                found.append(TileTime(*who, *what))
    return found


def _library(machine: Machine, folder: Path, part: Sequence[_Candidate]) -> object:
    folder.mkdir()
    return library_of(folder, [each.launch.kernel for each in part], machine)


def _candidates(job: Job, target: str) -> list[_Candidate]:
    machine = driver.find_target(target)
    lowered, _ = driver.plan(job.model().graph, machine)
    asked: dict[str, tuple[Task, Wish]] = {}

    def record(task: Task, wish: Wish) -> None:
        asked[wish.name] = task, wish

    launches = plan_cuda(lowered.program, machine, offers=(record, *OFFERS)).launches
    names = [launch.kernel.name for launch in launches]
    firsts = {launch.kernel.name: launch for launch in reversed(launches)}
    found = list[_Candidate]()
    for name, launch in firsts.items():
        if name not in asked:
            continue
        for family, plan, kernel in _kernels(*asked[name], first=len(found)):
            there = replace(launch, kernel=kernel)
            found.append(_Candidate(there, family, plan, names.count(name)))
    return found


def _kernels(task: Task, wish: Wish, first: int) -> Iterator[tuple[str, Plan, CudaKernel]]:
    problem, number = product_of(task), first
    for family, (plans_of, make_kernel) in FAMILIES.items():
        if family == "igemm_ffma" and wish.precision != "f32":
            continue
        own = replace(wish, precision="f32_exact") if family == "igemm_ffma" else wish
        plans = sorted(plans_of(task, own), key=lambda plan: plan.seconds)
        for plan in plans[:MOST]:
            if problem is None or plan.seconds > SLOWEST * plans[0].seconds:
                continue
            kernel = make_kernel(task, problem, replace(own, name=f"k{number}"), plan)
            if kernel is not None:
                number += 1
                yield family, plan, kernel


def summary(times: Sequence[TileTime]) -> str:
    """How the model ranks what was measured, and what its choices cost."""
    layers: dict[tuple[str, str], list[TileTime]] = {}
    for time in times:
        layers.setdefault((time.layer, time.family), []).append(time)
    chosen = [min(layer, key=lambda each: each.estimate) for layer in layers.values()]
    best = [min(layer, key=lambda each: each.microseconds) for layer in layers.values()]
    taken = [sum(each.count * each.microseconds for each in some) for some in (chosen, best)]
    within = [_correlation(layer) for layer in layers.values() if len(layer) > 2]
    inner = f", within a layer {fmean(within):.3f}" if within else ""
    return (
        f"{len(times)} kernels of {len(layers)} layers: rank correlation "
        f"{_correlation(times):.3f}{inner}; chosen {taken[0]:.0f} us, best {taken[1]:.0f} us"
    )


def _correlation(times: Sequence[TileTime]) -> float:
    """Spearman's, of estimates and measurements."""
    ranks = [
        np.argsort(np.argsort(values))
        for values in ([e.estimate for e in times], [e.microseconds for e in times])
    ]
    return float(np.corrcoef(ranks)[0, 1])


def measure_all(machine: Machine, path: Path) -> None:
    """Writes what was measured of two networks, and prints summaries."""
    found = list[TileTime]()
    pairs = product(("resnet50", "mobilenet_v2"), (1, 64), ("f32", "tf32", "bf16"))
    for net, batch, precision in pairs:
        times = measure_tiles(Job(net, batch, machine, 0), precision)
        print(f"{net}, batch {batch}, {precision}: {summary(times)}", flush=True)
        found += times
    path.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
