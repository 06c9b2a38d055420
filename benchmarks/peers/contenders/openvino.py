"""OpenVINO's CPU plugin, asked for latency and for float32 arithmetic."""

from importlib.metadata import version
from time import perf_counter

import openvino

from peers.task import Loaded, Task


def load(task: Task) -> Loaded:
    """See Loaded."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": task.threads,
    }
    start = perf_counter()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(task.model), "CPU", settings)
    seconds = {"load": perf_counter() - start}
    request, inputs = compiled.create_infer_request(), task.inputs()
    tensors = {n: openvino.Tensor(each, shared_memory=True) for n, each in inputs.items()}
    for name, tensor in tensors.items():
        request.set_tensor(name, tensor)
    names = [output.any_name for output in compiled.outputs]

    def run() -> None:
        request.start_async()
        request.wait()

    return Loaded(
        run,
        lambda: {name: request.get_tensor(name).data.copy() for name in names},
        version("openvino"),
        seconds,
        keeps=(inputs, tensors),
    )
