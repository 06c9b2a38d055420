"""PyTorch: the module compiled by Inductor, its weights frozen, images with channels last."""

from collections.abc import Mapping
from time import perf_counter

import numpy as np
import torch
from torch._inductor import config

import cnnc
from peers.task import Array, Loaded, Task
from peers.to_torch.module import torch_module

NOTE = "its process reads the text with cnnc, and holds the weights twice meanwhile"


def load(task: Task) -> Loaded:
    """See Loaded. Compiling happens in the first run, which counts as loading."""
    torch.set_num_threads(task.threads)
    config.freezing = True  # folds normalisations and packs weights
    start = perf_counter()
    model = cnnc.load(task.net, batch=task.batch)
    names, module = [*model.outputs], torch_module(model.graph)
    del model
    read = perf_counter()
    inputs = [_last(torch.from_numpy(array)) for array in task.inputs().values()]
    module = module.to(memory_format=torch.channels_last)
    results: list[torch.Tensor] = []
    compiled = torch.compile(module, dynamic=False)

    def run() -> None:
        with torch.inference_mode():
            results[:] = compiled(*inputs)

    def arrays() -> Mapping[str, Array]:
        return {
            name: np.ascontiguousarray(result.numpy())
            for name, result in zip(names, results, strict=True)
        }

    with torch.inference_mode():
        run()
    seconds = {"read": read - start, "compile": perf_counter() - read}
    return Loaded(run, arrays, torch.__version__, seconds, (NOTE,))


def _last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
