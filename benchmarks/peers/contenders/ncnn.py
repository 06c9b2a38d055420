"""ncnn, with the model that pnnx makes of PyTorch's; float32 throughout."""

import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import ncnn
import numpy as np

from peers.convert import run_converter
from peers.task import Array, Loaded, Task
from peers.unsupported import UnsupportedError

PER_SAMPLE = "takes no batches: a run is one call for each sample"


def load(task: Task) -> Loaded:
    """See Loaded. The conversion is not part of loading: it is done once, beforehand."""
    start = perf_counter()
    parameters, weights = convert(task)
    converted = perf_counter()
    net = ncnn.Net()
    options = net.opt
    options.num_threads = task.threads
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_storage = False
    if net.load_param(str(parameters)) or net.load_model(str(weights)):
        raise UnsupportedError("the model does not load")
    seconds = {"convert": converted - start, "load": perf_counter() - converted}
    inputs = {
        f"in{number}": [ncnn.Mat(np.ascontiguousarray(sample)).clone() for sample in array]
        for number, array in enumerate(task.inputs().values())
    }
    shapes = task.output_shapes()
    wanted = [f"out{number}" for number in range(len(shapes))]
    results: list[list[ncnn.Mat]] = []

    def run() -> None:
        results.clear()
        for sample in range(task.batch):
            with net.create_extractor() as extractor:
                for name, samples in inputs.items():
                    extractor.input(name, samples[sample])
                results.append([extracted(*extractor.extract(name)) for name in wanted])

    def arrays() -> Mapping[str, Array]:
        return {
            name: np.stack([np.array(each[place]) for each in results]).reshape(shape)
            for place, (name, shape) in enumerate(shapes.items())
        }

    notes = (PER_SAMPLE,) if task.batch > 1 else ()
    return Loaded(run, arrays, version("ncnn"), seconds, notes, keeps=inputs)


def extracted(code: int, mat: ncnn.Mat) -> ncnn.Mat:
    """The result of an extraction that went well."""
    if code:
        raise RuntimeError(f"extract gives {code}")
    return mat


def convert(task: Task) -> tuple[Path, Path]:
    """Write ncnn's two files; UnsupportedError where it cannot be done."""
    run_converter([sys.executable, "-m", "peers.to_torch.script", task.dumps()], "PyTorch", task)
    parameters, weights = (Path(task.folder, f"ncnn.{end}") for end in ("param", "bin"))
    shapes = (f"[1,{','.join(map(str, array.shape[1:]))}]" for array in task.inputs().values())
    command = [converter(), str(task.script), f"inputshape={','.join(shapes)}", "fp16=0"]
    run_converter([*command, f"ncnnparam={parameters}", f"ncnnbin={weights}"], "pnnx", task)
    if not parameters.exists():
        raise UnsupportedError("pnnx writes no model")
    return parameters, weights


def converter() -> str:
    """The program in the package pnnx, whose import would load PyTorch."""
    found = find_spec("pnnx")
    if found is None or found.origin is None:
        raise ImportError("No module named 'pnnx'")
    return str(Path(found.origin).with_name("pnnx"))
