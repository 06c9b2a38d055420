"""Everything that only a GPU shows, in one run of under ten minutes; the table comes last.

    pip install -e '.[bench]' torch
    python benchmarks/cuda.py --json gpu.json

1. Primitives on the GPU against their twins on the CPU. 2. Every hand-written kernel against
float64. 3. What the GPU can do at most. 4. compute-sanitizer on two small networks, where it is
installed. 5. Layers of ResNet-50 one by one. 6. Networks at batch 1 and 64 against PyTorch and ONNX
Runtime.

What is missing is said and left out. Without a GPU, sources are compiled and nothing is timed.
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
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

ROOT = Path(__file__).resolve().parents[1]
# This folder last: NVIDIA has a package whose name is this file's.
sys.path[:] = [str(ROOT), *sys.path[1:], str(ROOT / "benchmarks")]

from gpu import networks, programs  # noqa: E402

import cnnc  # noqa: E402
from cnnc import driver  # noqa: E402
from cnnc.backends.cuda.plan import plan_cuda  # noqa: E402
from cnnc.backends.cuda.toolchain import Nvcc, find_gpu, find_nvcc  # noqa: E402

MINUTES = 9.5
SMALL = ("lenet5", "ds_cnn")
_SANITIZED = (
    "import sys, numpy, cnnc\n"
    "model = cnnc.load(sys.argv[1], batch=1)\n"
    "net = model.compile(target='cuda')\n"
    "net({name: numpy.ones(shape, numpy.float32) for name, shape in net.inputs.items()})\n"
)


class Report:
    """What was found, by part, and how much time is left."""

    def __init__(self) -> None:
        self.found: dict[str, object] = {}
        self.start = monotonic()

    @property
    def left(self) -> float:
        """Seconds until the run should be over."""
        return 60 * MINUTES - (monotonic() - self.start)

    def part(self, name: str, work: Callable[[], object]) -> None:
        """Do a part and keep what it returns; an error becomes what was found."""
        print(f"== {name}", flush=True)
        try:
            self.found[name] = work()
        except Exception as error:  # the parts behind it still have something to say
            self.found[name] = f"{type(error).__name__}: {error}"
        print(_shown(self.found[name]), flush=True)


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
        twin = programs.compile_twin("primitives", Path(folder))
        made["primitives on the CPU"] = f"{len(programs.output(twin).splitlines())} run"
        for program in ("primitives", "ceilings"):
            if nvcc:
                programs.compile_program(program, Path(folder), nvcc, 90)
                made[program] = "compiled for sm_90"
    return made


def checked(nvcc: Nvcc, arch: int) -> list[str]:
    """Kernels that are wrong, and how many there are."""
    from gpu.kernels import check_kernels

    count, wrong = check_kernels(nvcc, arch)
    return [f"{count - len(wrong)} of {count} kernels are right", *wrong]


def sanitized() -> dict[str, str]:
    """compute-sanitizer's last words on small networks."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"compute-sanitizer": "not installed: it comes with the CUDA toolkit"}
    found = {}
    for name in SMALL:
        path = str(networks.ZOO / f"{name}.cnn")
        command = [tool, "--tool", "memcheck", sys.executable, "-c", _SANITIZED, path]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        found[name] = (done.stdout.strip().splitlines() or ["nothing printed"])[-1]
    return found


def layers(nvcc: Nvcc, arch: int, batch: int, ceilings: object) -> str:
    """The layers of ResNet-50, next to their floors and to PyTorch's convolutions."""
    from gpu.layers import layer_table, measure_layers

    if not isinstance(ceilings, dict):
        return "no ceilings, no floors"
    net, target = networks.ZOO / "resnet50.cnn", f"cuda:sm_{arch},tf32"
    return layer_table(measure_layers(net, batch, target, nvcc, ceilings))


def timed(report: Report, nets: list[str], batches: list[int], arch: int) -> list[networks.Time]:
    """Times as long as there is time; torch.compile takes minutes, so it comes where it matters."""
    if find_spec("torch") is None:
        return [networks.Time("-", 0, "torch", None, "not installed: pip install torch")]
    times = []
    for batch in batches:
        for net in nets:
            if report.left < 60:
                times.append(networks.Time(net, batch, "all", None, "no time was left"))
                continue
            compiled = net in ("resnet50", "mobilenet_v2") and report.left > 240
            times += networks.measure(net, batch, arch, compiled=compiled)
            print(f"{net} {batch}: {report.left:.0f} s left", flush=True)
    return times


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description="measure generated CUDA on this machine's GPU")
    parser.add_argument("--nets", default=",".join(networks.NETS))
    parser.add_argument("--batches", default="1,64")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    report, nvcc, gpu = Report(), find_nvcc(), find_gpu()
    report.part("sources, without a GPU", lambda: sources(nvcc))
    if nvcc is None or gpu is None:
        what = " and no ".join(name for name, it in (("nvcc", nvcc), ("GPU", gpu)) if it is None)
        print(f"== no {what} here: nothing is measured")
        return 0
    arch = gpu.arch
    print(f"== {gpu.name}, sm_{arch}, nvcc {nvcc.version}")
    report.part("primitives", lambda: programs.primitives(nvcc, arch))
    report.part("kernels against float64", lambda: checked(nvcc, arch))
    report.part("ceilings", lambda: programs.ceilings(nvcc, arch))
    report.part("compute-sanitizer", sanitized)
    batches = [int(each) for each in asked.batches.split(",")]
    for batch in batches:
        floors = report.found["ceilings"]
        report.part(f"layers at batch {batch}", bind(layers, nvcc, arch, batch, floors))
    times = timed(report, asked.nets.split(","), batches, arch)
    if asked.json:
        found = {**report.found, "gpu": gpu.name, "times": [asdict(each) for each in times]}
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(networks.table(times))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
