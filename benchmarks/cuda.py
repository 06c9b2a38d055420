"""Everything that only a GPU shows, in one run of under ten minutes; the table comes last.

    pip install -e '.[bench]' torch onnxruntime-gpu
    python benchmarks/cuda.py --json gpu.json

1. Primitives on the GPU against their twins on the CPU. 2. Every hand-written kernel against
float64. 3. ResNet-50 and MobileNetV2 at batch 1 and 64 against PyTorch and ONNX Runtime. 4. What
the GPU can do at most. 5. Layers of ResNet-50 one by one. 6. Tiles next to the model that chooses
them. 7. Other networks. 8. The four tools of compute-sanitizer on two small ones, where it is
installed.

The file has what was found as soon as a part is over, so that a run that is cut short is not lost.
Each part says how long it should take, and is left out where less time is left. What is missing is
said and left out; without a GPU, sources are compiled and nothing is timed.

    python benchmarks/cuda.py --dry-run

does all of it but tiles and sanitizers on the CPU, with small networks and few kernels: CUDA runs
under the shim, PyTorch on the CPU, and a clock stands in for events. Its times mean nothing.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial as bind
from importlib.util import find_spec
from itertools import product
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

ROOT = Path(__file__).resolve().parents[1]
# This folder last: NVIDIA has a package whose name is this file's.
sys.path[:] = [str(ROOT), *sys.path[1:], str(ROOT / "benchmarks")]

from gpu import networks, programs  # noqa: E402
from gpu.machine import Machine, pretend  # noqa: E402
from gpu.tiles import measure_all, measure_tiles, summary  # noqa: E402

import cnnc  # noqa: E402
from cnnc import driver  # noqa: E402
from cnnc.backends.cuda.plan import plan_cuda  # noqa: E402
from cnnc.backends.cuda.toolchain import Gpu, Nvcc, find_gpu, find_nvcc  # noqa: E402

MINUTES = 9.5
SMALL = ("lenet5", "ds_cnn")
FIRST = 4
"""Pairs of network and batch that come before all that explains them."""
SECONDS = {
    "network": 40.0,
    "layers": 40.0,
    "kernels": 60.0,
    "short": 20.0,
    "tiles": 30.0,
    "sanitizer": 80.0,
}
"""What parts should take on a machine with 16 cores, most of it nvcc."""
OVERTIME = 1.5
"""How many times as long as expected the contenders of a network may be begun."""
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
MOST_COMPILING = 75.0
"""Seconds for one network by torch.compile."""
_SANITIZED = (
    "import sys, numpy, cnnc\n"
    "model = cnnc.load(sys.argv[1], batch=1)\n"
    "net = model.compile(target='cuda')\n"
    "net({name: numpy.ones(shape, numpy.float32) for name, shape in net.inputs.items()})\n"
)


class Report:
    """What was found, by part, and how much time is left."""

    def __init__(self, minutes: float, path: Path | None, head: dict[str, object]) -> None:
        self.found: dict[str, object] = head
        self.times: list[networks.Time] = []
        self.start = monotonic()
        self.minutes = minutes
        self.path = path

    @property
    def left(self) -> float:
        """Seconds until the run should be over."""
        return 60 * self.minutes - (monotonic() - self.start)

    def part(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        """Do a part that should take so long, and keep what it returns, or why there is nothing."""
        print(f"== {name} ({self.left:.0f} s are left, it should take {seconds:.0f})", flush=True)
        if self.left < seconds:
            self.found[name] = "left out: too little time was left"
        else:
            try:
                self.found[name] = work()
            except Exception as error:  # the parts behind it still have something to say
                self.found[name] = f"{type(error).__name__}: {error}"
        self.write()
        print(_shown(self.found[name]), flush=True)

    def write(self) -> None:
        """The file, as far as things are known: whole, or as it was."""
        if self.path:
            found = {**self.found, "times": [asdict(each) for each in self.times]}
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            part.replace(self.path)


def _shown(found: object) -> str:
    if isinstance(found, dict):
        return "\n".join(f"{name:32} {value}" for name, value in found.items())
    return "\n".join(map(str, found)) if isinstance(found, list) else str(found)


def sources(nvcc: Nvcc | None) -> dict[str, str]:
    """What needs no GPU: sources of the networks for it, and nvcc's opinion of the primitives."""
    made, target = {}, driver.find_target("cuda:sm_90")
    for name in SMALL:
        graph = cnnc.load(networks.ZOO / f"{name}.cnn", batch=1).graph
        optimised = driver.optimise(graph, driver.pipeline(target))
        plan = plan_cuda(driver.lower_graph(optimised, target).program, target)
        generic = sum(launch.is_generic for launch in plan.launches)
        made[name] = f"{len(plan.launches)} launches, {generic} of them from loops"
    with TemporaryDirectory() as folder:
        twin = programs.compile_program("primitives", Path(folder), programs.twin())
        made["primitives on the CPU"] = f"{len(programs.output(twin).splitlines())} run"
        for program in ("primitives", "ceilings"):
            if nvcc:
                programs.compile_program(program, Path(folder), Machine(Gpu("sm_90", 90), nvcc))
                made[program] = "compiled for sm_90"
    return made


def checked(machine: Machine) -> list[str]:
    """Kernels that are wrong, and how many there are."""
    from gpu.kernels import check_kernels

    count, wrong = check_kernels(machine)
    return [f"{count - len(wrong)} of {count} kernels are right", *wrong]


def sanitized(machine: Machine, seconds: Callable[[], float]) -> dict[str, str]:
    """The last words of compute-sanitizer's tools on small networks, while seconds are left."""
    if machine.is_dry:
        return {"compute-sanitizer": "needs a GPU"}
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"compute-sanitizer": "not installed: it comes with the CUDA toolkit"}
    found = {}
    for name, check in product(SMALL, SANITIZERS):
        path = str(networks.ZOO / f"{name}.cnn")
        command = [tool, "--tool", check, sys.executable, "-c", _SANITIZED, path]
        try:
            limit = max(1.0, seconds())
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
            words = (done.stdout.strip().splitlines() or ["nothing printed"])[-1]
        except subprocess.TimeoutExpired:
            words = "not done: no time was left"
        found[f"{name}, {check}"] = words
    return found


def layers(job: networks.Job, ceilings: object) -> str:
    """The layers of a network, next to their floors and to PyTorch's convolutions."""
    from gpu.layers import layer_table, measure_layers

    if not isinstance(ceilings, dict):
        return "no ceilings, no floors"
    machine = job.machine
    target = f"cuda:sm_{machine.gpu.arch},tf32"
    return layer_table(measure_layers(job.model(), target, machine, ceilings))


def tiles(job: networks.Job) -> str:
    """How well tiles are chosen for 16 bits."""
    if job.machine.is_dry:
        return "hundreds of kernels: a GPU is needed"
    return summary(measure_tiles(job, "bf16"))


def timed(report: Report, net: str, batch: int, machine: Machine, *, compiles: bool) -> None:
    """All contenders on a network; torch.compile as long as the rest has time enough."""
    spare = (report.left - 330) / 4
    seconds = min(MOST_COMPILING, spare) if compiles and spare > 20 else 0.0
    if machine.is_dry:  # once is enough: it takes a CPU a minute
        seconds = 1.0 if (net, batch) == (networks.TINY[0], 1) else 0.0

    expected = SECONDS["network"] + 2 * seconds

    def work() -> str:
        if find_spec("torch") is None:
            return "PyTorch is not installed: pip install torch"
        # another one's search for the best algorithm may take as long as it likes
        until = monotonic() + min(report.left, OVERTIME * expected)
        until = inf if machine.is_dry else until
        found = list(networks.measure(networks.Job(net, batch, machine, seconds, until)))
        report.times += found
        return networks.table(found)

    report.part(f"{net}, batch {batch}", expected, work)


def measured(report: Report, machine: Machine, nets: list[str], batches: list[int]) -> None:
    """All parts, those first that are asked for most."""
    part, pairs = report.part, [(net, batch) for net in nets for batch in batches]
    pairs = [(net, min(batch, networks.MOST.get(net, batch))) for net, batch in pairs]
    part("primitives", SECONDS["short"], lambda: programs.primitives(machine))
    part("kernels against float64", SECONDS["kernels"], lambda: checked(machine))
    for net, batch in pairs[:FIRST]:
        timed(report, net, batch, machine, compiles=True)
    part("ceilings", SECONDS["short"], lambda: programs.ceilings(machine))
    floors = report.found["ceilings"]
    for batch in batches:
        job = networks.Job(nets[0], batch, machine, 0)
        part(f"layers at batch {batch}", SECONDS["layers"], bind(layers, job, floors))
        part(f"tiles at batch {batch}", SECONDS["tiles"], bind(tiles, job))
    for net, batch in pairs[FIRST:]:
        timed(report, net, batch, machine, compiles=False)
    part("compute-sanitizer", SECONDS["sanitizer"], lambda: sanitized(machine, lambda: report.left))


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description="measure generated CUDA on this machine's GPU")
    parser.add_argument("--nets", help="names of the zoo, the most important ones first")
    parser.add_argument("--batches")
    parser.add_argument("--json", type=Path, help="where to keep what is found")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long it may take")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU; times mean nothing")
    parser.add_argument(
        "--tiles", type=Path, help="measure only tiles, all of them, into this file"
    )
    asked = parser.parse_args()
    nvcc, gpu = find_nvcc(), find_gpu()
    if not asked.dry_run and (nvcc is None or gpu is None):
        what = " and no ".join(name for name, it in (("nvcc", nvcc), ("GPU", gpu)) if it is None)
        Report(asked.minutes, asked.json, {}).part("sources", 0, lambda: sources(nvcc))
        print(f"== no {what} here: nothing is measured")
        return 0
    if asked.tiles and gpu is not None and not asked.dry_run:
        measure_all(Machine(gpu, nvcc), asked.tiles)
        return 0
    machine = pretend() if asked.dry_run or gpu is None else Machine(gpu, nvcc)
    named = networks.TINY if machine.is_dry else networks.NETS
    nets = asked.nets.split(",") if asked.nets else list(named)
    batches = asked.batches or ("1,2" if machine.is_dry else "1,64")
    about = f"nvcc {nvcc.release}" if nvcc and not machine.is_dry else "a dry run"
    print(f"== {machine.gpu.name}, sm_{machine.gpu.arch}, {about}")
    head: dict[str, object] = {"gpu": machine.gpu.name, "dry_run": machine.is_dry}
    report = Report(asked.minutes, asked.json, head)
    measured(report, machine, nets, [int(each) for each in batches.split(",")])
    print(networks.table(report.times))
    if machine.is_dry:
        print("== a dry run: everything ran on the CPU, and no time means anything")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
