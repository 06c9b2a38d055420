"""A network of the language as a flat net, as if it had come from a file."""

import numpy as np

from cnnc.ir.graph import Constant, Graph, Input, Node, Parameter
from cnnc.onnx.flat import Array, FlatNet, Stage, Tensor
from cnnc.ops.attributes import Symbol
from cnnc.ops.identity import Identity
from cnnc.ops.spec import Operator


def flatten(graph: Graph) -> FlatNet:
    """One stage for each operator; `id` and `dropout` are what they pass on."""
    names: dict[Node, str | float] = {}
    stages: list[Stage] = []
    arrays: dict[str, Array] = {}
    owned = {
        each
        for node in graph.nodes
        if isinstance(node.op, Operator)
        for each in node.inputs[len(node.inputs) - len(node.op.parameters(node.inputs[0].type)) :]
    }
    for node in graph.nodes:
        match node.op:
            case Input():
                names[node] = node.name
            case Identity():
                names[node] = names[node.inputs[0]]
            case Constant() if node.type.elements == 1:
                names[node] = float(np.asarray(node.constant).reshape(-1)[0])
            case Parameter() if node not in owned:
                shape = {"shape": node.type.shape, "dtype": Symbol(str(node.type.dtype))}
                result = Tensor(node.name, node.type.dtype, node.type.shape)
                arrays[node.name] = np.zeros(node.type.shape, node.type.dtype.numpy)
                stages.append(Stage(node.name, "tensor", shape, (), {"": node.name}, result))
                names[node] = node.name
            case Operator() as op:
                own = len(op.parameters(node.inputs[0].type))
                count = len(node.inputs) - own
                operands = tuple(names[each] for each in node.inputs[:count])
                parameters = {}
                for each in node.inputs[count:]:
                    if isinstance(each.op, Parameter):
                        parameters[each.name.rpartition(".")[2]] = each.name
                        arrays[each.name] = np.zeros(each.type.shape, np.float32)
                attributes = {
                    each.name: each.kind.unparse(getattr(op, each.name)) for each in op.attributes()
                }
                result = Tensor(node.name, node.type.dtype, node.type.shape)
                stages.append(Stage(node.name, op.name, attributes, operands, parameters, result))
                names[node] = node.name
    inputs = tuple(Tensor(each.name, each.type.dtype, each.type.shape) for each in graph.inputs)
    outputs = tuple((name, str(names[node])) for name, node in graph.outputs.items())
    return FlatNet(graph.name, inputs, tuple(stages), outputs, arrays, graph.batch)
