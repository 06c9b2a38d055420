"""Networks end to end: cnnc and its peers, as CUDA graphs, one turn after the other."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from peers.prepare import draw_inputs

import cnnc

if TYPE_CHECKING:
    import torch

ZOO = Path(cnnc.__file__).resolve().parents[1] / "examples" / "zoo"
NETS = ("resnet50", "resnet18", "vgg16", "mobilenet_v2", "unet")
PRECISIONS = ("f32", "tf32", "bf16")
TURNS = 20
Run = Callable[[], object]


@dataclass(frozen=True)
class Time:
    """A contender's median milliseconds on a network, or why there are none."""

    net: str
    batch: int
    contender: str
    milliseconds: float | None
    note: str = ""


def measure(net: str, batch: int, arch: int, *, compiled: bool) -> Iterator[Time]:
    """All contenders on one network; `compiled` says whether torch.compile is worth its minutes."""
    model = cnnc.load(ZOO / f"{net}.cnn", batch=batch)
    inputs = draw_inputs(model.graph)
    runs: dict[str, Run] = {}
    notes: dict[str, str] = {}
    builders: dict[str, Callable[[], Run]] = {
        f"cnnc {each}": _bound(_cnnc, model, inputs, f"cuda:sm_{arch},{each}")
        for each in PRECISIONS
    }
    for name, allows, kind in (
        ("torch f32", False, "float32"),
        ("torch tf32", True, "float32"),
        ("torch bf16", True, "bfloat16"),
    ):
        builders[name] = _bound(_torch, model, inputs, allows, kind, False)
    if compiled:
        builders["torch.compile tf32"] = _bound(_torch, model, inputs, True, "float32", True)
        builders["torch.compile bf16"] = _bound(_torch, model, inputs, True, "bfloat16", True)
    builders["onnxruntime"] = _bound(_onnxruntime, model, inputs)
    for name, make in builders.items():
        try:
            runs[name] = make()
        except Exception as error:  # whatever another library raises is a note in the table
            notes[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    times = _take_turns(runs)
    for name in builders:
        yield Time(net, batch, name, times.get(name), notes.get(name, ""))


def _bound(function: Callable[..., Run], *arguments: object) -> Callable[[], Run]:
    return lambda: function(*arguments)


def _take_turns(runs: Mapping[str, Run]) -> dict[str, float]:
    """Median milliseconds of each, measured by events around ten runs."""
    import torch

    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            run()
            start.record()
            for _ in range(10):
                run()
            end.record()
            end.synchronize()
            samples[name].append(start.elapsed_time(end) / 10)
    return {name: statistics.median(each) for name, each in samples.items()}


def _captured(run: Run) -> Run:
    """The same work as one graph."""
    import torch

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _cnnc(model: cnnc.Model, inputs: Mapping[str, np.ndarray], target: str) -> Run:
    import torch

    network = model.compile(target=target)
    given = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
    out = {name: torch.empty(shape, device="cuda") for name, shape in network.outputs.items()}

    def run() -> object:
        stream = torch.cuda.current_stream().cuda_stream
        return network.launch(given, stream=stream, out=out)

    return _captured(run)


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    with torch.inference_mode():
        yield


def _torch(
    model: cnnc.Model, inputs: Mapping[str, np.ndarray], tf32: bool, kind: str, compiled: bool
) -> Run:
    import torch
    from peers.to_torch.module import torch_module

    dtype = getattr(torch, kind)
    module = torch_module(model.graph).cuda().to(dtype, memory_format=torch.channels_last)
    given = [_last(torch.from_numpy(array).cuda().to(dtype)) for array in inputs.values()]
    if compiled:
        module = torch.compile(module, dynamic=False, mode="max-autotune-no-cudagraphs")
    with _tf32(tf32):
        return _captured(lambda: module(*given))


def _last(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch

    return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _onnxruntime(model: cnnc.Model, inputs: Mapping[str, np.ndarray]) -> Run:
    import onnxruntime
    import torch
    from peers.to_onnx.model import onnx_model

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise RuntimeError("this onnxruntime has no CUDA provider")
    stream = str(torch.cuda.current_stream().cuda_stream)
    provider = ("CUDAExecutionProvider", {"user_compute_stream": stream})
    with TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        path.write_bytes(onnx_model(model.graph).SerializeToString())
        session = onnxruntime.InferenceSession(str(path), providers=[provider])
    binding = session.io_binding()
    for name, array in inputs.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0)
        binding.bind_ortvalue_input(name, value)
    for end in session.get_outputs():
        binding.bind_output(end.name, "cuda")
    return lambda: session.run_with_iobinding(binding)


def _is_peer(one: Time, other: Time) -> bool:
    """Whether one is another program on the same network in the same precision.

    ONNX Runtime multiplies in TF32 unless it is told otherwise.
    """
    precision = other.contender.split()[-1].replace("onnxruntime", "tf32")
    same = (one.net, one.batch, one.contender.split()[-1]) == (other.net, other.batch, precision)
    return same and not other.contender.startswith("cnnc")


def table(times: Sequence[Time]) -> str:
    """Milliseconds, and the ratio of cnnc's to those of the best peer in the same precision."""
    lines = [f"{'network':14} {'batch':>5}  {'contender':20} {'ms':>9}  of best peer"]
    for time in times:
        found = [each.milliseconds for each in times if _is_peer(time, each)]
        peers = [each for each in found if each is not None]
        shown = f"{time.milliseconds:9.3f}" if time.milliseconds is not None else f"{'-':>9}"
        ratio = time.note
        if time.contender.startswith("cnnc") and time.milliseconds is not None and peers:
            ratio = f"{time.milliseconds / min(peers):.2f}"
        lines.append(f"{time.net:14} {time.batch:5}  {time.contender:20} {shown}  {ratio}")
    return "\n".join(lines)
