"""Writes a network as LiteRT's flat buffer: `python -m peers.to_torch.flat TASK`."""

import sys

import litert_torch
import torch

import cnnc
from peers.task import Task
from peers.to_torch.module import torch_module


def main(text: str) -> None:
    """Convert the module and write it."""
    task = Task.loads(text)
    model = cnnc.load(task.net, batch=task.batch)
    zeros = tuple(torch.zeros(shape) for shape in model.inputs.values())
    litert_torch.convert(torch_module(model.graph), zeros).export(str(task.flat))


if __name__ == "__main__":
    main(sys.argv[1])
