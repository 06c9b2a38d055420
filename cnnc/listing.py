"""The layers of a graph, and of what it was lowered to."""

from collections.abc import Iterator, Mapping
from types import UnionType

from cnnc.ir.graph import Constant, Graph, Node, Op, Parameter
from cnnc.ir.types import TensorType
from cnnc.layers import LayerInfo, Layers
from cnnc.lowering.lowered import Lowered
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.concat import Concat
from cnnc.ops.conv import Conv
from cnnc.ops.conv_map import ConvMap
from cnnc.ops.fused import Fused
from cnnc.ops.identity import Identity
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Operator
from cnnc.ops.strassen import Strassen
from cnnc.ops.streamed import Streamed, stages_of
from cnnc.ops.winograd import Winograd
from cnnc.passes._derived import Derived
from cnnc.passes.fold_batchnorm import Linear


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
        parameters=sum(
            _trained_numbers(operand.op, operand.type) for operand in dict.fromkeys(trained)
        ),
        macs=_macs(node),
        bytes=node.type.bytes,
        weight_bytes=sum(constant.type.bytes for constant in dict.fromkeys(constants)),
        place=str(node.span or ""),
    )


def _trained_numbers(op: Op, kind: TensorType) -> int:
    """Elements of what was trained: weights that an algorithm transforms become more."""
    if isinstance(op, Constant) and isinstance(op.source, Derived):
        return sum(
            _trained_numbers(each, kind.with_shape(each.source.shape))
            for each in op.source.made_from
        )
    return kind.elements


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


def computed_within(source: Graph, lowered: Lowered, name: str) -> str | None:
    """The compiled layer that computes a layer of the text which has no step of its own.

    What is fused lies in a layer before it, what is streamed in one behind. None for a layer that
    is computed under its own name, or not at all.
    """
    known = {node.name: node for node in source.nodes if not node.is_leaf}
    compiled = _compiled_by_name(lowered, known)
    if (node := known.get(name)) is None:
        return None
    if name in compiled:
        made = compiled[name].name
        return None if made == name else made
    place = {each: number for number, each in enumerate(source.nodes)}
    roots = sorted(_roots(node, compiled), key=place.__getitem__, reverse=True)
    for root in (*roots, node):
        found = compiled.get(root.name) or _streamed_behind(root, source, compiled)
        if found is not None and _computes(found.op, node.op, root.op):
            return found.name
    return _merged_name(node, source, compiled)


def _merged_name(node: Node, source: Graph, compiled: Mapping[str, Node]) -> str | None:
    """The one convolution that was made of this one and others beside it in a concat.

    It has the name of the concat, or of the first of them.
    """
    if not isinstance(node.op, Conv):
        return None
    below = node
    while len(users := source.users[below]) == 1 and isinstance(users[0].op, Identity | Pointwise):
        below = users[0]
    if len(users) != 1 or not isinstance(users[0].op, Concat):
        return None
    concat, at = users[0], users[0].inputs.index(below)
    for first in range(at, -1, -1):
        found = compiled.get(_above_tail(concat.inputs[first]).name)
        if found is not None:
            ours = sum(operand.type.channels for operand in concat.inputs[first : at + 1])
            return found.name if _convolves(found.op) and ours <= found.type.channels else None
    found = compiled.get(concat.name)
    return found.name if found is not None and _convolves(found.op) else None


def _above_tail(node: Node) -> Node:
    """What pointwise operators are computed of."""
    while isinstance(node.op, Identity | Pointwise):
        node = next((each for each in node.inputs if not each.is_leaf), node.inputs[0])
    return node


def _convolves(op: Op) -> bool:
    return _has(op, Conv | ConvMap | Winograd | Strassen)


def _compiled_by_name(lowered: Lowered, known: Mapping[str, Node]) -> dict[str, Node]:
    """The compiled layers, also by the names of the text that passes made theirs of."""
    compiled = {layer.node.name: layer.node for layer in lowered.layers}
    for layer in lowered.layers:
        name = layer.node.name
        while name not in known and "." in name:
            name = name.rpartition(".")[0]
        compiled.setdefault(name, layer.node)
    return compiled


def _roots(node: Node, compiled: Mapping[str, Node]) -> set[Node]:
    """The nearest operators before it, or itself, behind which it may have been fused."""
    found, waiting = set(), [node]
    while waiting:
        each = waiting.pop()
        joins = isinstance(each.op, Pointwise | BatchNorm) and each.name not in compiled
        operands = [operand for operand in each.inputs if not operand.is_leaf]
        if joins and operands:
            waiting += operands
        else:
            found.add(each)
    return found


def _streamed_behind(node: Node, source: Graph, compiled: Mapping[str, Node]) -> Node | None:
    """The layer of several stages of which an operator may be one."""
    while len(users := source.users[node]) == 1:
        (node,) = users
        found = compiled.get(node.name)
        if found is not None:
            return found if isinstance(found.op, Streamed) else None
    return None


def _computes(op: Op, wanted: Op, root: Op) -> bool:
    """Whether an operator of the text is among what a compiled layer computes."""
    if isinstance(wanted, BatchNorm):
        # folded into the weights of what it stood behind, or spelled out
        return isinstance(root, Linear) or _has(op, Mul)
    return _has(op, type(wanted)) or (isinstance(wanted, Conv) and _convolves(op))


def _has(op: Op, kind: type[Op] | UnionType) -> bool:
    if isinstance(op, Streamed):
        return any(_has(stage.op, kind) for stage in op.stages)
    if isinstance(op, Fused):
        return any(isinstance(each, kind) for each in (op.root, *(step.op for step in op.tail)))
    return isinstance(op, kind)


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
