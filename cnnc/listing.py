"""The layers of a graph, and of what it was lowered to."""

from collections.abc import Iterator

from cnnc.ir.graph import Constant, Graph, Node, Op, Parameter
from cnnc.ir.types import TensorType
from cnnc.layers import LayerInfo, Layers
from cnnc.lowering.lowered import Lowered
from cnnc.ops.fused import Fused
from cnnc.ops.spec import Operator
from cnnc.ops.streamed import Streamed, stages_of


def graph_layers(graph: Graph) -> Layers:
    """The layers as the network's text has them."""
    counted: set[Node] = set()
    rows = (_describe(node, counted) for node in graph.nodes if not node.is_leaf)
    return Layers(tuple(rows))


def lowered_layers(lowered: Lowered) -> Layers:
    """The layers as they were compiled, each one step of the program."""
    counted: set[Node] = set()
    rows, repeats = [], lowered.program.repeats
    for layer in lowered.layers:
        node = layer.node
        row = _describe(node, counted)
        constants = [
            param.layout.size(param.shape) * param.dtype.bytes
            for param, operand in zip(layer.kernel.params, layer.operands, strict=True)
            if operand.is_constant
        ]
        rows.append(
            LayerInfo(
                *(row.name, row.op, lowered.shape_of(node), row.dtype, row.parameters),
                macs=repeats * row.macs,
                bytes=repeats * node.type.bytes,
                weight_bytes=sum(constants),
                place=row.place,
                algorithm=layer.kernel.origin.algorithm,
                layout=str(node.type.layout),
            )
        )
    return Layers(tuple(rows))


def _describe(node: Node, counted: set[Node]) -> LayerInfo:
    """The row of one node; parameters that an earlier row counted are not counted again."""
    trained = [operand for operand in trained_operands(node) if operand not in counted]
    counted.update(trained)
    constants = [n for n in node.inputs if isinstance(n.op, Constant | Parameter)]
    return LayerInfo(
        name=node.name,
        op=operator_text(node.op),
        shape=node.type.shape,
        dtype=str(node.type.dtype),
        parameters=sum(operand.type.elements for operand in dict.fromkeys(trained)),
        macs=_macs(node),
        bytes=node.type.bytes,
        weight_bytes=sum(constant.type.bytes for constant in dict.fromkeys(constants)),
        place=str(node.span or ""),
    )


def operator_text(op: Op) -> str:
    """An operator for people: what is fused behind the root by name only, of several all."""
    if isinstance(op, Streamed):
        return " → ".join(_names(stage.op) for stage in op.stages)
    if isinstance(op, Fused):
        return " + ".join([op.root.label, *(step.op.name for step in op.tail)])
    return op.label


def _names(op: Op) -> str:
    """The names of an operator and of what is fused behind it."""
    assert isinstance(op, Operator)
    if isinstance(op, Fused):
        return " + ".join([op.root.name, *(step.op.name for step in op.tail)])
    return op.name


def _macs(node: Node) -> int:
    types = [operand.type for operand in node.inputs]
    return node.op.macs(node.type, *types) if isinstance(node.op, Operator) else 0


def trained_operands(node: Node) -> Iterator[Node]:
    """Operands that are trained: no statistics, and nothing that the attributes fix."""
    if isinstance(node.op, Streamed):
        for stage in stages_of(node):
            yield from trained_operands(stage)
        return
    fused = node.op if isinstance(node.op, Fused) else None
    op, arity = (fused.root, fused.root_arity) if fused else (node.op, len(node.inputs))
    if not isinstance(op, Operator):
        return
    types: list[TensorType] = [operand.type for operand in node.inputs]
    specs = op.parameters(*types[:1])
    for spec, operand in zip(specs, node.inputs[arity - len(specs) : arity], strict=True):
        if spec.is_trained:
            yield operand
