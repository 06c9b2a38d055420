"""Folds what scales and shifts channels by constants into the weights beside it."""

from dataclasses import replace

import numpy as np

from cnnc.base.layout import Shape
from cnnc.ir.evaluate import round_to, widen
from cnnc.ir.graph import Constant, Graph, Node, Real
from cnnc.ir.rewrite import fresh_name, rewrite
from cnnc.ir.types import TensorType
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.dense import Dense
from cnnc.ops.unshared import Unshared
from cnnc.passes._affine import Affine, affine_of
from cnnc.passes._scaled import Scaled, survives

Linear = Conv | ConvTranspose | Dense | Unshared
"""Operators whose weights scale each channel of the operand and of the result."""


def fold_batchnorm(graph: Graph) -> Graph:
    """batchnorm(conv(x, w, b))  →  conv(x, w′, b′), and conv(x * s, w, b)  →  conv(x, w′, b)

    conv_transpose, unshared and dense as conv; add, sub, mul and div with a constant for each
    channel as batchnorm. A batchnorm that stays becomes x * scale + shift, which joins other
    pointwise operators. New weights are computed in float64 and rounded once; nothing is folded
    that would overflow, or vanish.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, graph: Graph) -> Node | None:
    if isinstance(node.op, Linear):
        return _scaled_before(node, graph)
    affine = affine_of(node)
    if affine is None:
        return None
    if isinstance(affine.x.op, Linear) and graph.is_private(affine.x):
        return _scaled_after(affine, graph)
    return _spelled_out(node, affine, graph) if isinstance(node.op, BatchNorm) else None


def _scaled_after(affine: Affine, graph: Graph) -> Node | None:
    """The conv or dense whose result is scaled and shifted."""
    node, op = affine.x, affine.x.op
    assert isinstance(op, Linear)
    known = [operand.op for operand in node.inputs[1:] if isinstance(operand.op, Constant)]
    if len(known) != 1 + op.bias:
        return None
    weight = _scaled(node, known[0], _factor_of_results(op, known[0].source.shape, affine.scale))
    # The bias of each channel, or with `unshared` of each of its positions.
    each = node.type.shape[1:] if isinstance(op, Unshared) else node.type.shape[1:2]
    scale, shift = (_along(value, len(each)) for value in (affine.scale, affine.shift))
    bias = (widen(known[1].value) * scale if op.bias else np.zeros(each)) + shift
    made = _parameters(node, weight, bias, graph)
    if made is None:
        return None
    return replace(node, op=replace(op, bias=True), inputs=(node.inputs[0], *made))


def _scaled_before(node: Node, graph: Graph) -> Node | None:
    """The conv or dense that scales its operand itself; its padding stays zero."""
    affine, weight = affine_of(node.inputs[0]), node.inputs[1].op
    if affine is None or not isinstance(weight, Constant) or affine.shift.any():
        return None
    if not graph.is_private(node.inputs[0]):
        return None
    assert isinstance(node.op, Linear)
    factor = _factor_of_operands(node.op, weight.source.shape, affine.scale)
    made = _parameters(node, _scaled(node, weight, factor), None, graph)
    return None if made is None else replace(node, inputs=(affine.x, *made, *node.inputs[2:]))


def _along(value: Real, rank: int) -> Real:
    """One number for each channel, to be multiplied along the first of `rank` axes."""
    return value.reshape(-1, *[1] * (rank - 1))


def _factor_of_results(op: Linear, shape: Shape, scale: Real) -> Real:
    """What weights [O, I, …] are multiplied by to scale their results channel by channel."""
    if not isinstance(op, ConvTranspose):
        return _along(scale, len(shape))
    return _by_group(scale, shape, op.groups)


def _factor_of_operands(op: Linear, shape: Shape, scale: Real) -> Real:
    """What weights [O, I, …] are multiplied by to scale their operand channel by channel."""
    if isinstance(op, ConvTranspose):
        return _along(scale, len(shape))
    return _by_group(scale, shape, 1 if isinstance(op, Dense) else op.groups)


def _by_group(scale: Real, shape: Shape, groups: int) -> Real:
    """One number for each element along the second axis, of the group that a row belongs to."""
    rows = scale.reshape(groups, shape[1])
    if groups > 1:
        rows = rows.repeat(shape[0] // groups, axis=0)
    return rows.reshape(*rows.shape, *[1] * (len(shape) - 2))


def _spelled_out(node: Node, affine: Affine, graph: Graph) -> Node:
    """x * scale + shift; the sum has the batchnorm's name."""
    shape = (1, -1, *[1] * (node.type.rank - 2))
    scale = _constant(node, affine.scale.reshape(shape), fresh_name(graph, f"{node.name}.scale"))
    shift = _constant(node, affine.shift.reshape(shape), fresh_name(graph, f"{node.name}.shift"))
    name = fresh_name(graph, f"{node.name}.scaled")
    scaled = replace(node, op=Mul(), inputs=(affine.x, scale), name=name)
    return replace(node, op=Add(), inputs=(scaled, shift))


def _scaled(node: Node, weight: Constant, factor: Real) -> Scaled:
    return Scaled(weight, factor, TensorType.plain(weight.source.shape, node.type.dtype))


def _parameters(
    node: Node, weight: Scaled, bias: Real | None, graph: Graph
) -> tuple[Node, ...] | None:
    """Weight and bias with new values; each keeps its name unless others read the old one.

    None if one of them would overflow, or vanish.
    """
    name = _name(node, 1, "weight", graph)
    made: tuple[Node, ...] = (Node(Constant(weight), (), weight.type, name, node.span),)
    if bias is not None:
        new = _constant(node, bias, _name(node, 2, "bias", graph))
        if not survives(bias, new.type):
            return None
        made += (new,)
    return made if weight.survives() else None


def _name(node: Node, position: int, parameter: str, graph: Graph) -> str:
    """That of the operand there, unless others read it."""
    old = node.inputs[position] if position < len(node.inputs) else None
    if old and graph.is_private(old):
        return old.name
    return fresh_name(graph, f"{node.name}.{parameter}")


def _constant(node: Node, value: Real, name: str) -> Node:
    made = TensorType.plain(value.shape, node.type.dtype)
    return Node(Constant(round_to(value, made.dtype)), (), made, name, node.span)
