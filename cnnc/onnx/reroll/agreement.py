"""Whether a text says what the flat net says: the same operators on the same values."""

from collections.abc import Mapping

from cnnc.base.errors import InternalError
from cnnc.ir.graph import Constant, Graph, Input, Node, Parameter
from cnnc.onnx.flat import FlatNet, Stage
from cnnc.onnx.reroll.attributes import shown_attributes
from cnnc.ops.identity import Identity
from cnnc.ops.spec import Named, find


def match(net: FlatNet, graph: Graph) -> Mapping[str, str]:
    """For each parameter of the graph, the array of the flat net that it is.

    `graph` is built from the text and has no weights yet. InternalError where any operator,
    attribute, operand or parameter differs.
    """
    return _Matching(net).outputs(graph)


class _Matching:
    """A walk over both from the outputs on: each stage is one node, and the other way round."""

    def __init__(self, net: FlatNet) -> None:
        self.stages: dict[str | float, Stage] = {stage.name: stage for stage in net.stages}
        self.net = net
        self.inputs = {each.name: each for each in net.inputs}
        self.nodes: dict[str, Node] = {}
        self.found: dict[str, str] = {}

    def outputs(self, graph: Graph) -> Mapping[str, str]:
        """The walk."""
        if [*graph.outputs] != [name for name, _ in self.net.outputs]:
            raise _differs("the outputs", [*graph.outputs])
        if [(each.name, each.type.shape) for each in graph.inputs] != [
            (each.name, each.shape) for each in self.net.inputs
        ]:
            raise _differs("the inputs", [each.name for each in graph.inputs])
        todo: list[tuple[str | float, Node]] = [
            (value, graph.outputs[name]) for name, value in self.net.outputs
        ]
        while todo:
            todo += self._step(*todo.pop())
        used = {id(node) for node in self.nodes.values()}
        if len(used) != len(self.nodes):
            raise _differs("the number of operators", len(used))
        return self.found

    def _step(self, value: str | float, node: Node) -> list[tuple[str | float, Node]]:
        """Compare one value; what it is made of comes next."""
        while isinstance(node.op, Identity):
            (node,) = node.inputs
        while value in self.stages and self.stages[value].op == "id":
            (value,) = self.stages[value].operands
        if not isinstance(value, str):
            constant = node.constant
            if constant is None or constant.dtype.type(value) != constant.reshape(-1)[0]:
                raise _differs(f"the number {value}", node.op.label)
            return []
        if value in self.nodes:
            if self.nodes[value] is not node:
                raise _differs(f"who reads `{value}`", node.name)
            return []
        self.nodes[value] = node
        if value in self.inputs:
            if not isinstance(node.op, Input) or node.name != value:
                raise _differs(f"the input `{value}`", node.op.label)
            return []
        return self._stage(self.stages[value], node)

    def _stage(self, stage: Stage, node: Node) -> list[tuple[str | float, Node]]:
        if stage.op == "tensor":
            self._parameter(stage, "", node)
            return []
        kind = find(stage.op)
        assert kind is not None
        wanted = kind.make(stage.attributes)
        if not isinstance(node.op, Named) or node.op.name != stage.op:
            raise _differs(f"`{stage.name}`, {wanted.label},", node.op.label)
        dtype = stage.result.dtype
        if shown_attributes(node.op, dtype) != shown_attributes(wanted, dtype):
            raise _differs(f"`{stage.name}`, {wanted.label},", node.op.label)
        if (node.type.shape, node.type.dtype) != (stage.result.shape, dtype):
            raise _differs(f"the type of `{stage.name}`, {stage.result.shape},", node.type)
        count = len(stage.operands)
        own = [each for each in node.inputs[count:] if not isinstance(each.op, Constant)]
        names = [each.name.removeprefix(f"{node.name}.") for each in own]
        if sorted(names) != sorted(stage.parameters):
            raise _differs(f"the parameters of `{stage.name}`", names)
        for name, each in zip(names, own, strict=True):
            self._parameter(stage, name, each)
        return [*zip(stage.operands, node.inputs[:count], strict=True)]

    def _parameter(self, stage: Stage, name: str, node: Node) -> None:
        key = stage.parameters[name]
        array = self.net.arrays[key]
        if not isinstance(node.op, Parameter) or array.shape != node.type.shape:
            raise _differs(f"the parameter `{key}`, {array.shape},", node.type)
        self.found[node.op.path] = key


def _differs(what: str, found: object) -> InternalError:
    return InternalError(f"{what} became another in the text: {found}", stage="import")
