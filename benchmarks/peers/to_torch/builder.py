"""The module under construction, and the walk over the graph."""

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from cnnc.ir.graph import Graph, Node, Parameter
from cnnc.ir.types import TensorType
from peers.unsupported import UnsupportedError


class Builder:
    """Calls of a traced function, and the tensors it owns."""

    def __init__(self) -> None:
        self.root = nn.Module()
        self.graph = fx.Graph()

    def call(self, function: Callable[..., Any], *operands: Any, **more: Any) -> fx.Node:
        """A call of a function of PyTorch; its result."""
        return self.graph.call_function(function, operands, more)

    def constant(self, values: NDArray[np.generic]) -> fx.Node:
        """A tensor with these values."""
        name = f"c{len(dict(self.root.named_buffers()))}"
        tensor = torch.from_numpy(np.array(values))
        self.root.register_buffer(name, tensor)
        return self.graph.get_attr(name)


@singledispatch
def build(op: object, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    """Call the operator of a node; its result. Registered once for each operator."""
    raise UnsupportedError.operator(node, "the PyTorch module")


def assemble(graph: Graph) -> fx.GraphModule:
    """A module that takes the inputs in order and gives a tuple of the outputs."""
    builder, values = Builder(), dict[Node, fx.Node]()
    for node in graph.inputs:
        values[node] = builder.graph.placeholder(f"x{len(values)}")
    for node in graph.nodes:
        if node in values:
            continue
        if node.constant is not None:
            values[node] = builder.constant(node.constant)
        elif isinstance(node.op, Parameter):
            raise UnsupportedError(f"`{node.name}` has no values")
        else:
            values[node] = build(node.op, node, [values[each] for each in node.inputs], builder)
    builder.graph.output(tuple(values[node] for node in graph.outputs.values()))
    return fx.GraphModule(builder.root, builder.graph).eval()


def operand_type(node: Node, position: int = 0) -> TensorType:
    """The type of an operand of a node."""
    return node.inputs[position].type
