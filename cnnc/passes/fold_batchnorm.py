"""Folds what scales and shifts channels by constants into the weights beside it."""

from dataclasses import replace

import numpy as np

from cnnc.ir.evaluate import round_to, widen
from cnnc.ir.graph import Array, Constant, Graph, Node, Real
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
    values = [widen(p.constant) for p in node.inputs[1:] if p.constant is not None]
    if len(values) != 1 + op.bias:
        return None
    weight = _scale_results(op, values[0], affine.scale)
    # The bias of each channel, or with `unshared` of each of its positions.
    each = node.type.shape[1:] if isinstance(op, Unshared) else node.type.shape[1:2]
    scale, shift = (_along(value, len(each)) for value in (affine.scale, affine.shift))
    bias = (values[1] * scale if op.bias else np.zeros(each)) + shift
    made = _parameters(node, [weight, bias], graph)
    if made is None:
        return None
    return replace(node, op=replace(op, bias=True), inputs=(node.inputs[0], *made))


def _scaled_before(node: Node, graph: Graph) -> Node | None:
    """The conv or dense that scales its operand itself; its padding stays zero."""
    affine, weight = affine_of(node.inputs[0]), node.inputs[1].constant
    if affine is None or weight is None or affine.shift.any():
        return None
    if not graph.is_private(node.inputs[0]):
        return None
    assert isinstance(node.op, Linear)
    made = _parameters(node, [_scale_operands(node.op, widen(weight), affine.scale)], graph)
    return None if made is None else replace(node, inputs=(affine.x, *made, *node.inputs[2:]))


def _along(value: Real, rank: int) -> Real:
    """One number for each channel, to be multiplied along the first of `rank` axes."""
    return value.reshape(-1, *[1] * (rank - 1))


def _scale_results(op: Linear, weight: Real, scale: Real) -> Real:
    """Weights whose results are scaled channel by channel."""
    if not isinstance(op, ConvTranspose):
        return weight * _along(scale, weight.ndim)
    split = weight.reshape(op.groups, -1, *weight.shape[1:])
    factor = scale.reshape(op.groups, 1, -1, *[1] * (weight.ndim - 2))
    return (split * factor).reshape(weight.shape)


def _scale_operands(op: Linear, weight: Real, scale: Real) -> Real:
    """Weights that scale their operand channel by channel."""
    if isinstance(op, ConvTranspose):
        return weight * _along(scale, weight.ndim)
    groups = 1 if isinstance(op, Dense) else op.groups
    split = weight.reshape(groups, -1, *weight.shape[1:])
    factor = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return (split * factor).reshape(weight.shape)


def _spelled_out(node: Node, affine: Affine, graph: Graph) -> Node:
    """x * scale + shift; the sum has the batchnorm's name."""
    shape = (1, -1, *[1] * (node.type.rank - 2))
    scale = _constant(node, affine.scale.reshape(shape), fresh_name(graph, f"{node.name}.scale"))
    shift = _constant(node, affine.shift.reshape(shape), fresh_name(graph, f"{node.name}.shift"))
    name = fresh_name(graph, f"{node.name}.scaled")
    scaled = replace(node, op=Mul(), inputs=(affine.x, scale), name=name)
    return replace(node, op=Add(), inputs=(scaled, shift))


def _parameters(node: Node, values: list[Real], graph: Graph) -> tuple[Node, ...] | None:
    """Weight and bias with new values; each keeps its name unless others read the old one."""
    made = []
    for position, value in enumerate(values, start=1):
        old = node.inputs[position] if position < len(node.inputs) else None
        name = f"{node.name}.{'weight' if position == 1 else 'bias'}"
        name = old.name if old and graph.is_private(old) else fresh_name(graph, name)
        made.append(_constant(node, value, name))
    kept = all(
        p.constant is not None and _survives(value, p.constant)
        for p, value in zip(made, values, strict=True)
    )
    return tuple(made) if kept else None


def _survives(value: Real, rounded: Array) -> bool:
    """Whether rounding made nothing infinite, and nothing zero: 0 times infinity is NaN."""
    return bool(np.isfinite(rounded).all() and np.array_equal(value == 0, rounded == 0))


def _constant(node: Node, value: Real, name: str) -> Node:
    made = TensorType.plain(value.shape, node.type.dtype)
    return Node(Constant(round_to(value, made.dtype)), (), made, name, node.span)
