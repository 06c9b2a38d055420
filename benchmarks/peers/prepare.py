"""The files a task needs: the model, and inputs to run it on."""

import json
from pathlib import Path

import numpy as np

import cnnc
from cnnc.ir.graph import Graph
from cnnc.memory import drawn
from cnnc.onnx import export
from peers.task import Array, Task


def prepare(task: Task) -> int:
    """Write them; the multiply-accumulates of a run. UserError if not."""
    model = cnnc.load(task.net, batch=task.batch)
    export(model, task.model)
    np.savez(Path(task.folder, "inputs.npz"), **draw_inputs(model.graph))
    Path(task.folder, "outputs.json").write_text(json.dumps(model.outputs), encoding="utf-8")
    return model.macs


def draw_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Random inputs by name."""
    random = np.random.default_rng(seed)
    return {node.name: drawn(random, node.type.shape, node.type.dtype) for node in graph.inputs}
