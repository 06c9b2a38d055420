"""Writes a network for one sample as TorchScript: `python -m peers.to_torch.script TASK`."""

import sys
import warnings

import torch

import cnnc
from peers.task import Task
from peers.to_torch.module import torch_module


def main(text: str) -> None:
    """Trace the module and write it."""
    warnings.simplefilter("ignore")  # TorchScript is deprecated, and what pnnx reads
    task = Task.loads(text)
    model = cnnc.load(task.net, batch=1)
    zeros = [torch.zeros(shape) for shape in model.inputs.values()]
    torch.jit.trace(torch_module(model.graph), zeros, check_trace=False).save(task.script)


if __name__ == "__main__":
    main(sys.argv[1])
