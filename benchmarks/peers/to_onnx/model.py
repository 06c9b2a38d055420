"""The whole writer: the walk with all operators registered."""

from onnx import ModelProto, checker

from cnnc.ir.graph import Graph
from peers.to_onnx import elements, moves, windows
from peers.to_onnx.writer import write

PARTS = (elements, moves, windows)
"""Importing them registers their operators."""


def onnx_model(graph: Graph) -> ModelProto:
    """A checked ONNX model; UnsupportedError names the operator that cannot be written."""
    model = write(graph)
    checker.check_model(model, full_check=True)
    return model
