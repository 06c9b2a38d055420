"""Layers one by one: each distinct kernel of a network, twenty times in a graph, and its floor.

What a kernel reads is in the second-level cache from the launch before, if it fits there; but for
weights, which each launch has copies of its own of, as they come from memory in a network.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import cnnc
from cnnc import driver
from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE, CudaKernel
from cnnc.backends.cuda.plan import Launch, plan_cuda
from gpu.machine import Machine
from tests.cuda.kernels.harness import load, source_of, write_headers

if TYPE_CHECKING:
    import torch

REPEATS = 20
PATTERN = 0x3C
"""Every byte of what is read: floats of about 0.01, and small numbers of 16 bits."""
_TIMING = """
struct Turns {
    int argument, copies;
    size_t bytes;
};

template <class... P>
static float timed(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, void **arguments,
                   const Turns &turns)
{
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    cudaEvent_t start, end;
    float milliseconds = -1.0f;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    cudaStreamCreate(&stream);
    cudaEventCreate(&start);
    cudaEventCreate(&end);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    unsigned char **weights = nullptr;
    if (turns.argument >= 0) weights = (unsigned char **)arguments[turns.argument];
    unsigned char *const first = weights ? *weights : nullptr;
    for (int i = 0; i < REPEATS; ++i) {
        if (weights) *weights = first + i % turns.copies * turns.bytes;
        cnnc::launch(kernel, grid, block, shared, stream, false, arguments);
    }
    if (weights) *weights = first;
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&ready, graph, 0);
    for (int turn = 0; turn < 5; ++turn) {
        float passed;
        cudaEventRecord(start, stream);
        cudaGraphLaunch(ready, stream);
        cudaEventRecord(end, stream);
        if (cudaEventSynchronize(end) != cudaSuccess) break;
        cudaEventElapsedTime(&passed, start, end);
        if (milliseconds < 0 || passed < milliseconds) milliseconds = passed;
    }
    cudaGraphExecDestroy(ready);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    return 1000.0f * milliseconds / REPEATS;
}
"""
_TIMED = """extern "C" float time_{name}(void **arguments, int argument, int copies, size_t bytes)
{{
    const Turns turns{{argument, copies, bytes}};
    return timed({name}, dim3{grid}, dim3{block}, {shared}, arguments, turns);
}}
"""
ROTATED = 160 << 20
"""Bytes of weights' copies from which on the cache does not have them any more."""


@dataclass(frozen=True)
class LayerTime:
    """Microseconds of a kernel, of the same layer in PyTorch, and at least by the ceilings."""

    layer: str
    count: int
    microseconds: float
    torch: float | None
    floor: float
    comment: str


def measure_layers(
    model: cnnc.Model, target: str, on: Machine, ceilings: Mapping[str, float]
) -> list[LayerTime]:
    """All distinct kernels of a network, those that take longest in all first."""
    machine = driver.find_target(target)
    lowered, _ = driver.plan(model.graph, machine)
    plan = plan_cuda(lowered.program, machine)
    counts: dict[str, list[Launch]] = {}
    for launch in plan.launches:
        counts.setdefault(launch.kernel.name, []).append(launch)
    firsts = [launches[0] for launches in counts.values()]
    found = []
    with TemporaryDirectory() as folder:
        library = library_of(Path(folder), [each.kernel for each in firsts], on)
        for launch in firsts:
            time = time_of(library, launch)
            peer = _torch_time(launch, plan.precision, on)
            floor = _floor(launch, plan.precision, ceilings)
            count = len(counts[launch.kernel.name])
            found.append(LayerTime(launch.layer, count, time, peer, floor, launch.kernel.comment))
    return sorted(found, key=lambda each: -each.count * each.microseconds)


def library_of(folder: Path, kernels: Sequence[CudaKernel], on: Machine) -> ctypes.CDLL:
    """A library with functions that time these kernels."""
    write_headers(folder)
    parts = [source_of(kernels), _TIMING]
    for kernel in kernels:
        places = {"grid": kernel.grid, "block": kernel.block, "shared": kernel.shared_bytes}
        parts.append(_TIMED.format(name=kernel.name, **places))
    path = folder / "layers.cu"
    path.write_text("\n".join(parts))
    repeats = 1 if on.is_dry else REPEATS
    return load(on.compile(path, folder / "layers.so", ["-shared", f"-DREPEATS={repeats}"]))


def _sizes(launch: Launch) -> dict[str, int]:
    kernel = launch.kernel
    sizes = {param.name: launch.bytes_of(param) for param in launch.loops.params}
    sizes |= {packing.argument: packing.bytes for packing in kernel.packings}
    sizes |= {WORKSPACE: kernel.workspace_bytes, COUNTERS: 4 * kernel.counters}
    return {name: max(16, sizes[name]) for name in kernel.arguments}


def time_of(library: ctypes.CDLL, launch: Launch) -> float:
    """Microseconds of a launch's kernel, by a library that has it; negative where it fails."""
    sizes = _sizes(launch)
    packed = [each.argument for each in launch.kernel.packings]
    at, copies, each = -1, 1, 0
    if len(packed) == 1:
        at, each = launch.kernel.arguments.index(packed[0]), -(-sizes[packed[0]] // 256) * 256
        copies = max(1, min(REPEATS, ROTATED // each))
        sizes[packed[0]] = each * copies
    memory = {name: library.device_memory(size) for name, size in sizes.items()}
    for name, size in sizes.items():
        library.device_fill(memory[name], 0 if name == COUNTERS else PATTERN, size)
    pointers = [ctypes.c_void_p(memory[name]) for name in launch.kernel.arguments]
    table = (ctypes.c_void_p * len(pointers))(*(ctypes.addressof(each) for each in pointers))
    function = getattr(library, f"time_{launch.kernel.name}")
    function.restype = ctypes.c_float
    time = float(function(table, at, copies, ctypes.c_size_t(each)))
    for place in memory.values():
        library.device_free(place)
    return time


def _floor(launch: Launch, precision: str, ceilings: Mapping[str, float]) -> float:
    """Microseconds that products and bytes need at the measured ceilings."""
    rates = {"f32": ("mma_tf32_flops", 3), "f32_exact": ("ffma_flops", 1)}
    name, times = rates.get(precision, (f"mma_{precision}_flops", 1))
    tasks = [loops.task for loops in launch.joined or (launch.loops,)]
    macs = sum(task.macs for task in tasks if task)
    moved = sum(size for name, size in _sizes(launch).items() if name not in (WORKSPACE, COUNTERS))
    seconds = max(2 * macs * times / ceilings[name], moved / ceilings["copy_bytes_per_second"])
    return 1e6 * seconds


def _torch_time(launch: Launch, precision: str, on: Machine) -> float | None:
    """Microseconds of a convolution alone, without what is fused behind it; None for others."""
    task = launch.loops.task
    if task is None or task.op != "conv" or task.windows is None or find_spec("torch") is None:
        return None
    pads = task.windows.pads
    if len(pads) != 2 or any(before != after for before, after in pads):
        return None
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(precision, torch.float32)
    x, weight = (_drawn(task.param(name).shape, dtype, on) for name in ("x", "weight"))
    bias = torch.zeros(weight.shape[0], device=on.device, dtype=dtype)
    windows, groups = task.windows, x.shape[1] // weight.shape[1]

    def run() -> object:
        padding = [before for before, _ in pads]
        return torch.nn.functional.conv2d(
            x, weight, bias, windows.stride, padding, windows.dilation, groups
        )

    repeats = 1 if on.is_dry else REPEATS
    return 1000 * on.milliseconds(on.captured(run, repeats), 1) / repeats


def _drawn(shape: Sequence[int], dtype: "torch.dtype", on: Machine) -> "torch.Tensor":
    import torch

    made = torch.full(tuple(shape), 0.01, device=on.device, dtype=dtype)
    return made.to(memory_format=torch.channels_last)


def layer_table(times: Sequence[LayerTime]) -> str:
    """The costliest layers: microseconds, times the floor, times PyTorch's."""
    lines = [f"{'layer':32} {'times':>5} {'us':>8} {'/ floor':>8} {'/ torch':>8}  tile"]
    for each in times:
        peer = f"{each.microseconds / each.torch:8.2f}" if each.torch else f"{'-':>8}"
        numbers = f"{each.microseconds:8.1f} {each.microseconds / each.floor:8.2f} {peer}"
        lines.append(f"{each.layer[:32]:32} {each.count:5} {numbers}  {each.comment}")
    return "\n".join(lines)
