"""The whole builder: the walk with all operators registered."""

from torch import fx

from cnnc.ir.graph import Graph
from peers.to_torch import elements, moves, windows
from peers.to_torch.builder import assemble, build

__all__ = ["build", "torch_module"]
PARTS = (elements, moves, windows)
"""Importing them registers their operators."""


def torch_module(graph: Graph) -> fx.GraphModule:
    """A module for inference; UnsupportedError names the operator it cannot have."""
    return assemble(graph)
