"""A graph as an ONNX model: the walk over its nodes."""

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from cnnc.base.dtype import DType
from cnnc.ir.graph import Graph, Node
from cnnc.ir.types import TensorType
from cnnc.onnx.emit import (
    comparisons,
    elements,
    moves,
    normalisations,
    pool_places,
    pools,
    reductions,
    resize,
    unshared,
    windows,
)
from cnnc.onnx.emit.writer import IR_VERSION, OPSET, Writer, element_type, emit
from cnnc.version import __version__

PARTS = (
    comparisons, elements, moves, normalisations, pool_places, pools, reductions, resize, unshared,
    windows,
)  # fmt: skip
"""Importing them registers their operators."""
BATCH = "N"
"""What the first extent is called where any number of samples may run."""


def onnx_model(graph: Graph) -> ModelProto:
    """The model with the graph's names, weights and types; all weights are bound.

    A tensor is called as the layer that makes it, an input or output as in the text.
    """
    samples = None if graph.fewest is None else graph.batch
    writer, names = Writer({*graph.names, *graph.outputs}, samples), dict[Node, str]()
    reserved = {name for name, node in graph.outputs.items() if name != node.name}
    for node in graph.nodes:
        if node in graph.inputs:
            names[node] = node.name
        elif node.is_constant:
            assert node.constant is not None
            names[node] = writer.initialise(node.name, np.ascontiguousarray(node.constant))
        else:
            is_wide = DType.F64 in {each.type.dtype for each in (node, *node.inputs)}
            name = f"{node.name}/result" if node.name in reserved else node.name
            writer.begin(name, is_wide=is_wide)
            given = [names[each] for each in node.inputs]
            names[node] = writer.end(emit(node.op, node, given, writer))
    outputs = _name_outputs(graph, names, writer)
    read = {name for node in writer.nodes for name in node.input}
    inside = {
        names[node]: node
        for node in graph.nodes
        if not node.is_leaf and names[node] == node.name and node.name not in outputs
    }
    made = helper.make_graph(
        writer.nodes,
        graph.name,
        [_value(node.name, node.type, samples) for node in graph.inputs],
        [_value(name, node.type, samples) for name, node in graph.outputs.items()],
        [each for each in writer.initial if each.name in read],
        value_info=[_value(name, node.type, samples) for name, node in inside.items()],
    )
    return helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="cnnc",
        producer_version=__version__,
    )


def _name_outputs(graph: Graph, names: dict[Node, str], writer: Writer) -> set[str]:
    """Call results as the graph calls its outputs; what has such a name already is copied."""
    ready = {name for name, node in graph.outputs.items() if names[node] == name}
    leaves = {names[node] for node in graph.nodes if node.is_leaf}
    for name, node in graph.outputs.items():
        old = names[node]
        if name in ready:
            continue
        if old in leaves or old in graph.outputs:
            writer.copy(old, name)
        else:
            writer.rename(old, name)
            names.update({each: name for each, known in names.items() if known == old})
        ready.add(name)
    return ready


def _value(name: str, type: TensorType, samples: int | None) -> ValueInfoProto:
    shape: list[int | str] = [*type.shape]
    if samples is not None:
        shape[0] = BATCH
    return helper.make_tensor_value_info(name, element_type(type.dtype), shape)
