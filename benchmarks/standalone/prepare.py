"""The files that forms are built from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers.prepare import draw_inputs
from peers.task import Task

import cnnc
from cnnc.ir.graph import Graph
from cnnc.onnx.emit.model import onnx_model
from cnnc.passes.fold_batchnorm import fold_batchnorm
from cnnc.passes.fold_constants import fold_constants
from cnnc.passes.simplify import simplify
from standalone.ends import End, write_ends


@dataclass(frozen=True, slots=True)
class Workshop:
    """What forms are built from. `graph` is what generators are given, in `task.model` as ONNX.

    Inputs lie in the folder `inputs`, each in a file of its name.
    """

    task: Task
    cores: Sequence[int]
    graph: Graph
    inputs: Sequence[End]
    outputs: Sequence[End]
    macs: int


def prepare(task: Task, cores: Sequence[int]) -> Workshop:
    """Write them; UserError or UnsupportedError if not."""
    model, folder = cnnc.load(task.net, batch=task.batch), Path(task.folder)
    graph = as_exported(model.graph)
    task.model.write_bytes(onnx_model(graph).SerializeToString())
    arrays = draw_inputs(model.graph)
    np.savez(folder / "inputs.npz", **arrays)
    (folder / "inputs").mkdir()
    for name, array in arrays.items():
        array.tofile(folder / "inputs" / name)
    inputs = [End(name, array.shape, str(array.dtype)) for name, array in arrays.items()]
    outputs = [
        End(name, node.type.shape, str(node.type.dtype.numpy))
        for name, node in model.graph.outputs.items()
    ]
    write_ends(folder / "outputs.ends", outputs)
    return Workshop(task, cores, graph, inputs, outputs, model.macs)


def as_exported(graph: Graph) -> Graph:
    """What exporters from training frameworks write: no dropout, and no batchnorm behind a conv.

    Neither onnx2c nor emx-onnx-cgen fold batchnorms themselves.
    """
    return simplify(fold_batchnorm(simplify(fold_constants(graph))))
