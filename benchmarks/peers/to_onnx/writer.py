"""The model under construction, and the walk over the graph."""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cnnc.base.dtype import DType
from cnnc.ir.graph import LEAVES, Graph, Node, Parameter
from cnnc.ir.types import TensorType
from peers.unsupported import UnsupportedError

OPSET = 20
Attribute = int | float | str | Sequence[int]


class Writer:
    """Nodes and initial values of a model; tensors go by name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initial: list[TensorProto] = []
        self._known: dict[tuple[bytes, str, tuple[int, ...]], str] = {}

    def add(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """One more operator; the name of its result. An input called "" is left out."""
        result = f"v.{len(self.nodes)}"
        name = f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [*inputs], [result], name=name, **attributes))
        return result

    def constant(self, values: Any, dtype: type[np.generic] = np.float32) -> str:
        """The name of a tensor with these values; equal small ones are one."""
        array = np.ascontiguousarray(np.asarray(values, dtype)).reshape(np.shape(values))
        if array.nbytes > 1024:
            return self._initial(array)
        key = (array.tobytes(), str(array.dtype), array.shape)
        if key not in self._known:
            self._known[key] = self._initial(array)
        return self._known[key]

    def integers(self, values: Sequence[int]) -> str:
        """The name of a vector of whole numbers: shapes, axes, positions."""
        return self.constant(np.array(values, np.int64), np.int64)

    def cast(self, x: str, dtype: DType) -> str:
        """The elements as another type."""
        return self.add("Cast", x, to=element_type(dtype))

    def rename(self, old: str, new: str) -> None:
        """Another name for a tensor, wherever it stands."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new

    def _initial(self, array: NDArray[np.generic]) -> str:
        name = f"c.{len(self.initial)}"
        self.initial.append(numpy_helper.from_array(array, name))
        return name


@singledispatch
def emit(op: object, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    """Write the operator of a node; the name of its result. Registered once for each operator."""
    raise UnsupportedError.operator(node, "the ONNX writer")


def write(graph: Graph) -> ModelProto:
    """The model with the graph's inputs and outputs by name; UnsupportedError where it cannot."""
    writer, names = Writer(), dict[Node, str]()
    for node in graph.nodes:
        if node in graph.inputs:
            names[node] = node.name
        elif node.constant is not None:
            names[node] = writer.constant(node.constant, node.constant.dtype.type)
        elif isinstance(node.op, Parameter):
            raise UnsupportedError(f"`{node.name}` has no values")
        else:
            names[node] = emit(node.op, node, [names[each] for each in node.inputs], writer)
    _name_outputs(graph, names, writer)
    read = {name for node in writer.nodes for name in node.input}
    made = helper.make_graph(
        writer.nodes,
        graph.name,
        [_value(node.name, node.type) for node in graph.inputs],
        [_value(name, node.type) for name, node in graph.outputs.items()],
        [each for each in writer.initial if each.name in read],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(made, opset_imports=[opset], ir_version=9, producer_name="cnnc")


def _name_outputs(graph: Graph, names: dict[Node, str], writer: Writer) -> None:
    """Call results as the graph calls its outputs; what is an input or has a name is copied."""
    taken = {node.name for node in graph.inputs}
    if clash := taken & set(graph.outputs):
        raise UnsupportedError(f"`{clash.pop()}` is an input and an output")
    constants = {each.name for each in writer.initial}
    for name, node in graph.outputs.items():
        old = names[node]
        if old in taken | constants:
            old = writer.add("Identity", old)
        else:
            names.update({each: name for each, known in names.items() if known == old})
        writer.rename(old, name)
        taken.add(name)


def _value(name: str, type: TensorType) -> Any:
    return helper.make_tensor_value_info(name, element_type(type.dtype), type.shape)


def element_type(dtype: DType) -> int:
    """ONNX's number of an element type."""
    return helper.np_dtype_to_tensor_dtype(dtype.numpy)


def operand_type(node: Node, position: int = 0) -> TensorType:
    """The type of an operand of a node."""
    return node.inputs[position].type


def per_channel(node: Node, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """A vector [C] with axes of extent 1 behind it, to be broadcast over the node's operand."""
    return array.reshape(-1, *[1] * (operand_type(node).rank - 2))


def constant_of(node: Node, position: int) -> NDArray[np.generic]:
    """The values of an operand that is known."""
    value = node.inputs[position].constant
    if value is None or not isinstance(node.inputs[position].op, LEAVES):
        raise UnsupportedError(f"operand {position} of `{node.name}` is not a constant")
    return value
