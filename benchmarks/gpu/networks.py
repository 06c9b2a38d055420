"""Networks end to end: cnnc and its peers, as CUDA graphs, one turn after the other."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from peers.prepare import draw_inputs

import cnnc
from cnnc.ir.graph import Graph
from cnnc.onnx import export
from cnnc.passes.fold_batchnorm import fold_batchnorm
from cnnc.passes.fold_constants import fold_constants
from gpu.machine import Machine, Run
from tests.cuda.nets import small

if TYPE_CHECKING:
    import torch

ZOO = Path(cnnc.__file__).resolve().parents[1] / "examples" / "zoo"
NETS = ("resnet50", "mobilenet_v2", "resnet18", "vgg16", "unet")
"""Those first that something is asked of."""
MOST = {"unet": 8}
"""Batches that are large enough, and fit."""
TINY = ("ds_cnn", "resnet18")
"""At a reduced size, on the CPU."""
PRECISIONS = ("f32", "tf32", "bf16")
KINDS = {"f32": (False, "float32"), "tf32": (True, "float32"), "bf16": (True, "bfloat16")}
"""Whether torch may use TF32, and its type of elements."""
TURNS = 20
LATE = "left out: too little time was left"
WARM = "torch.compile's cache"


@dataclass(frozen=True)
class Time:
    """A contender's median milliseconds on a network, or why there are none.

    `apart` is the largest difference from the first contender's results, of the largest of them.
    """

    net: str
    batch: int
    contender: str
    milliseconds: float | None
    note: str = ""
    apart: float | None = None


@dataclass(frozen=True)
class Contender:
    """What is timed, and what gives its first output as an array."""

    run: Run
    output: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Job:
    """A network at a batch on a machine, how long torch.compile may take, 0 for not at all, and by
    when, of `time.monotonic`, the last contender has to be begun."""

    net: str
    batch: int
    machine: Machine
    compile_seconds: float
    until: float = inf

    def model(self) -> cnnc.Model:
        """The network, reduced where there is no GPU."""
        if self.machine.is_dry:
            return small(self.net, self.batch)
        return cnnc.load(ZOO / f"{self.net}.cnn", batch=self.batch)


def measure(job: Job) -> Iterator[Time]:
    """All contenders on one network."""
    model = job.model()
    inputs = draw_inputs(model.graph)
    with ThreadPoolExecutor() as pool:  # nvcc takes most of the time, in processes of its own
        list(pool.map(lambda each: _quietly(_compiled, job, model, each), PRECISIONS))
    builders: dict[str, Callable[[], Contender]] = {}
    for kind in PRECISIONS:
        builders[f"cnnc {kind}"] = _bound(_cnnc, job, model, inputs, kind)
    for kind in PRECISIONS:
        builders[f"torch {kind}"] = _bound(_torch, job, model, inputs, kind, False)
    for kind in ("f32", "tf32"):
        builders[f"onnxruntime {kind}"] = _bound(_onnxruntime, job, model, inputs, kind)
    # last, as it takes longest
    for kind in ("bf16", "tf32") if job.compile_seconds else ():
        builders[f"torch.compile {kind}"] = _bound(_torch, job, model, inputs, kind, True)
    found: dict[str, Contender] = {}
    notes: dict[str, str] = {}
    for name, make in builders.items():
        if monotonic() > job.until:
            notes[name] = LATE
            continue
        try:
            found[name] = make()
        except Exception as error:  # whatever another library raises is a note in the table
            notes[name] = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
    times = _take_turns(job, {name: each.run for name, each in found.items()})
    expected = next(iter(found.values())).output() if found else np.zeros(1)
    for name in builders:
        each = found.get(name)
        apart = _apart(each.output(), expected) if each else None
        yield Time(job.net, job.batch, name, times.get(name), notes.get(name, ""), apart)


def _bound(function: Callable[..., Contender], *arguments: object) -> Callable[[], Contender]:
    return lambda: function(*arguments)


def _quietly(function: Callable[..., object], *arguments: object) -> None:
    """What goes wrong here goes wrong again where it is noted."""
    try:
        function(*arguments)
    except Exception:
        return


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    found, expected = (np.asarray(each, np.float64).reshape(-1) for each in (found, expected))
    return float(np.max(np.abs(found - expected)) / max(1e-30, np.max(np.abs(expected))))


def _take_turns(job: Job, runs: Mapping[str, Run]) -> dict[str, float]:
    """Median milliseconds of each; fewer turns, of all alike, where time is over."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(1 if job.machine.is_dry else TURNS):
        if turn and monotonic() > job.until:
            break
        for name, run in runs.items():
            samples[name].append(job.machine.milliseconds(run))
    return {name: statistics.median(each) for name, each in samples.items()}


def _compiled(job: Job, model: cnnc.Model, precision: str) -> cnnc.Compiled:
    return model.compile(target=f"cuda:sm_{job.machine.gpu.arch},{precision}")


def _cnnc(
    job: Job, model: cnnc.Model, inputs: Mapping[str, np.ndarray], precision: str
) -> Contender:
    network, name = _compiled(job, model, precision), next(iter(model.outputs))
    if job.machine.is_dry:
        return Contender(lambda: network(inputs), lambda: network(inputs)[name])
    import torch

    given = {end: job.machine.put(array) for end, array in inputs.items()}
    out = {end: torch.empty(shape, device="cuda") for end, shape in network.outputs.items()}

    def run() -> object:
        stream = torch.cuda.current_stream().cuda_stream
        return network.launch(given, stream=stream, out=out)

    return Contender(job.machine.captured(run), lambda: out[name].cpu().numpy())


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """By the older of torch's two ways to ask: compilers of some versions trip over the new."""
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    with torch.inference_mode():
        yield


def _torch(
    job: Job, model: cnnc.Model, inputs: Mapping[str, np.ndarray], kind: str, compiled: bool
) -> Contender:
    from peers.to_torch.module import torch_module

    if compiled and not job.machine.is_dry:
        _warm(job, kind)
    allowed, dtype = KINDS[kind]
    run, given = _module(job.machine, torch_module(_folded(model)), inputs, dtype, compiled)
    name = next(iter(model.outputs))
    with _tf32(allowed):
        replay = job.machine.captured(lambda: run(*given))

        def output() -> np.ndarray:
            with _tf32(allowed):
                made = run(*given)
            first = made[name] if isinstance(made, Mapping) else made
            first = first[0] if isinstance(first, list | tuple) else first
            return np.asarray(first.float().cpu().numpy())

    return Contender(replay, output)


def _module(
    machine: Machine,
    module: "torch.nn.Module",
    inputs: Mapping[str, np.ndarray],
    kind: str,
    compiled: bool,
) -> tuple[Callable[..., object], list["torch.Tensor"]]:
    """The module and its inputs, channels last."""
    import torch

    dtype = getattr(torch, kind)
    made = module.to(machine.device).to(dtype, memory_format=torch.channels_last)
    given = [_last(machine.put(array, dtype)) for array in inputs.values()]
    if compiled:
        return torch.compile(made, dynamic=False), given
    return made, given


def _folded(model: cnnc.Model) -> Graph:
    """The network without batchnorms, as it is deployed: PyTorch does not fold them itself."""
    return fold_constants(fold_batchnorm(model.graph))


def _last(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch

    return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _warm(job: Job, kind: str) -> None:
    """Have another process fill torch.compile's cache, as only a process can be stopped in time."""
    arguments = [job.net, str(job.batch), kind]
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-c", "from gpu.networks import warm_up; warm_up()", *arguments]
    environment = os.environ | {"PYTHONPATH": paths}
    limit = job.compile_seconds
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=limit, env=environment)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{WARM} was not full after {limit:.0f} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError((lines or [WARM])[-1]) from error


def warm_up() -> None:
    """What that process does."""
    from peers.to_torch.module import torch_module

    from cnnc.backends.cuda.toolchain import Nvcc
    from cnnc.gpu import find_gpu

    net, batch, kind = sys.argv[1:]
    gpu, _ = find_gpu()
    assert gpu
    job = Job(net, int(batch), Machine(gpu, Nvcc(Path("nvcc"), ())), 0)
    model, (allowed, dtype) = job.model(), KINDS[kind]
    inputs = draw_inputs(model.graph)
    run, given = _module(job.machine, torch_module(_folded(model)), inputs, dtype, True)
    with _tf32(allowed):
        run(*given)


def _onnxruntime(
    job: Job, model: cnnc.Model, inputs: Mapping[str, np.ndarray], kind: str
) -> Contender:
    """Inputs and outputs lie on the GPU, and runs replay a graph."""
    import onnxruntime

    wanted = "CPUExecutionProvider" if job.machine.is_dry else "CUDAExecutionProvider"
    if wanted not in onnxruntime.get_available_providers():
        raise RuntimeError(f"this onnxruntime has no {wanted}: pip install onnxruntime-gpu")
    settings = {"use_tf32": str(int(KINDS[kind][0])), "enable_cuda_graph": "1"}
    settings |= {"cudnn_conv_algo_search": "EXHAUSTIVE"}
    provider = (wanted, {} if job.machine.is_dry else settings)
    with TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        export(model, path)
        session = onnxruntime.InferenceSession(str(path), providers=[provider])
    binding, device = session.io_binding(), job.machine.device
    for name, array in inputs.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0)
        binding.bind_ortvalue_input(name, value)
    made = {}
    for end in session.get_outputs():
        made[end.name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            list(model.outputs[end.name]), np.float32, device, 0
        )
        binding.bind_ortvalue_output(end.name, made[end.name])
    for _ in range(3):
        session.run_with_iobinding(binding)
    first = next(iter(made.values()))
    return Contender(lambda: session.run_with_iobinding(binding), lambda: first.numpy())


def _is_peer(one: Time, other: Time) -> bool:
    """Whether one is another program on the same network in the same precision."""
    mine, its = ((each.net, each.batch, each.contender.split()[-1]) for each in (one, other))
    return mine == its and not other.contender.startswith("cnnc")


def table(times: Sequence[Time]) -> str:
    """Milliseconds, how far results are apart, and cnnc's time by that of the best peer in the same
    precision."""
    head = f"{'network':14} {'batch':>5}  {'contender':20} {'ms':>9} {'apart':>8}"
    lines = [f"{head}  of best peer"]
    for time in times:
        found = [each.milliseconds for each in times if _is_peer(time, each)]
        peers = [each for each in found if each is not None]
        shown = f"{time.milliseconds:9.3f}" if time.milliseconds is not None else f"{'-':>9}"
        apart = f"{time.apart:8.1e}" if time.apart is not None else f"{'-':>8}"
        ratio = time.note
        if time.contender.startswith("cnnc") and time.milliseconds is not None and peers:
            ratio = f"{time.milliseconds / min(peers):.2f}"
        head = f"{time.net:14} {time.batch:5}  {time.contender:20}"
        lines.append(f"{head} {shown} {apart}  {ratio}")
    return "\n".join(lines)
