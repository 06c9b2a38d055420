"""Recognises what scales and shifts each channel by constants."""

import numpy as np

from cnnc.base.record import record
from cnnc.ir.evaluate import widen
from cnnc.ir.graph import Node, Real
from cnnc.ir.types import TensorType
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.div import Div
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.arithmetic.neg import Neg
from cnnc.ops.arithmetic.sub import Sub
from cnnc.ops.batchnorm import BatchNorm


@record
class Affine:
    """x * scale[c] + shift[c] for each channel c, in float64 and finite."""

    x: Node
    scale: Real
    shift: Real


def affine_of(node: Node) -> Affine | None:
    """A batchnorm with known parameters, or arithmetic with a constant for each channel."""
    with np.errstate(all="ignore"):
        match node.op:
            case BatchNorm():
                found = _normalisation(node, node.op.eps)
            case Add() | Sub() | Mul() | Div() if len(node.inputs) == 2:
                found = _arithmetic(node)
            case Neg() if node.type.rank > 1:
                ones = np.ones(node.type.channels)
                found = Affine(node.inputs[0], -ones, 0 * ones)
            case _:
                return None
    return found if found and np.isfinite([found.scale, found.shift]).all() else None


def _normalisation(node: Node, eps: float) -> Affine | None:
    values = [widen(p.constant) for p in node.inputs[1:] if p.constant is not None]
    if len(values) != 4:
        return None
    weight, bias, mean, var = values
    scale = weight / np.sqrt(var + eps)
    return Affine(node.inputs[0], scale, bias - mean * scale)


def _arithmetic(node: Node) -> Affine | None:
    x, other = node.inputs
    if x.constant is not None and isinstance(node.op, Add | Mul):
        x, other = other, x
    value = _per_channel(other, node.type)
    if value is None or x.type != node.type:
        return None
    one, zero = np.ones_like(value), np.zeros_like(value)
    match node.op:
        case Add():
            return Affine(x, one, value)
        case Sub():
            return Affine(x, one, -value)
        case Mul():
            return Affine(x, value, zero)
    return Affine(x, one / value, zero)


def _per_channel(node: Node, result: TensorType) -> Real | None:
    """A constant as one number for each channel of the result, if that is all it holds."""
    shape = (1,) * (result.rank - node.type.rank) + node.type.shape
    if node.constant is None or len(shape) < 2 or any(n > 1 for n in (shape[0], *shape[2:])):
        return None
    return np.broadcast_to(widen(node.constant).reshape(-1), (result.channels,))
