"""Algebra: operators that do nothing, or nothing new."""

from dataclasses import replace
from math import inf

import numpy as np

from cnnc.ir.graph import Constant, Graph, Node, Op
from cnnc.ir.rewrite import rewrite
from cnnc.ir.types import TensorType
from cnnc.ops.activations.clip import Clip
from cnnc.ops.activations.hard_sigmoid import HardSigmoid
from cnnc.ops.activations.prelu import Prelu
from cnnc.ops.activations.relu import Relu
from cnnc.ops.activations.relu6 import Relu6
from cnnc.ops.activations.sigmoid import Sigmoid
from cnnc.ops.arithmetic.abs import Abs
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.div import Div
from cnnc.ops.arithmetic.exp import Exp
from cnnc.ops.arithmetic.max import Max
from cnnc.ops.arithmetic.min import Min
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.arithmetic.neg import Neg
from cnnc.ops.arithmetic.sqrt import Sqrt
from cnnc.ops.arithmetic.sub import Sub
from cnnc.ops.conv import Conv
from cnnc.ops.flatten import Flatten
from cnnc.ops.identity import Identity
from cnnc.ops.movement.depth_to_space import DepthToSpace
from cnnc.ops.movement.pad import Pad
from cnnc.ops.movement.resize import Resize
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.space_to_depth import SpaceToDepth
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum
from cnnc.ops.reshape import Reshape
from cnnc.ops.softmax import Softmax
from cnnc.passes._movement import moved_once, padded_once


def simplify(graph: Graph) -> Graph:
    """dropout(x) → x, relu(relu(x)) → relu(x), x + 0 → x, x * 1 → x, conv(pad(x)) → conv(x), …

    Every rule is exact, for NaN and infinities too; only x + 0 loses the sign of -0.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, graph: Graph) -> Node | None:
    match node.op:
        case Identity():
            return node.inputs[0]
        case Relu() | Relu6() | Clip():
            return _clamped_once(node)
        case Neg() if isinstance(node.inputs[0].op, Neg):
            return node.inputs[0].inputs[0]
        case Abs():
            return _without_sign(node)
        case Max() | Min() if len(set(node.inputs)) == 1:
            return node.inputs[0]
        case Add() | Mul() | Sub() | Div():
            return _without_neutral(node, 0.0 if isinstance(node.op, Add | Sub) else 1.0)
        case Flatten() | Reshape():
            return _reshaped_once(node)
        case Slice() | Pad() | Transpose() | Resize() | DepthToSpace() | SpaceToDepth():
            return moved_once(node)
        case Conv():
            return padded_once(node, node.op)
        case Prelu():
            return _slopes_aligned(node)
        case Pool(Maximum() | Average()):
            return _without_window(node, node.op)
    return None


def _clamped_once(node: Node) -> Node | None:
    """Of two clamps the one whose range lies in the other's, or one for what both let through."""
    inner = node.inputs[0]
    (low, high), (least, most) = _range(node.op), _range(inner.op)
    if low <= least and most <= high:
        return inner
    if least <= low and high <= most and isinstance(inner.op, Relu | Relu6 | Clip):
        return replace(node, inputs=inner.inputs)
    if isinstance(inner.op, Relu | Relu6 | Clip) and max(low, least) <= min(high, most):
        both = Clip(max(low, least), min(high, most))
        return replace(node, op=both, inputs=inner.inputs)
    return None


def _without_sign(node: Node) -> Node | None:
    """||x|| and |-x| as |x|."""
    inner = node.inputs[0]
    match inner.op:
        case Abs():
            return inner
        case Neg():
            return replace(node, inputs=inner.inputs)
    return None


def _range(op: Op) -> tuple[float, float]:
    """Least and greatest result."""
    match op:
        case Relu():
            return 0.0, inf
        case Relu6():
            return 0.0, 6.0
        case Clip(low, high):
            return low, high
        case Sigmoid() | Softmax() | HardSigmoid():
            return 0.0, 1.0
        case Abs() | Exp() | Sqrt():
            return 0.0, inf
    return -inf, inf


def _without_neutral(node: Node, neutral: float) -> Node | None:
    """Fewer operands, or the only one that is left."""
    droppable = node.inputs if isinstance(node.op, Add | Mul) else node.inputs[1:]
    dropped = {n for n in droppable if n.constant is not None and np.all(n.constant == neutral)}
    kept = tuple(operand for operand in node.inputs if operand not in dropped)
    if kept == node.inputs or not kept:
        return None
    if len(kept) == 1:
        return kept[0] if kept[0].type == node.type else None
    smaller = replace(node, inputs=kept)
    return smaller if node.op.infer(*(operand.type for operand in kept)) == node.type else None


def _reshaped_once(node: Node) -> Node | None:
    """The last of several reshapings, on the operand of the first; or nothing."""
    source = node.inputs[0]
    if source.type == node.type:
        return source
    if not isinstance(source.op, Flatten | Reshape):
        return None
    x, shape = source.inputs[0], node.type.shape
    if Flatten().infer(x.type) == node.type:
        return replace(node, op=Flatten(), inputs=(x,))
    batch = 0 if x.type.shape[:1] == shape[:1] else shape[0]
    return replace(node, op=Reshape((batch, *shape[1:])), inputs=(x,))


def _slopes_aligned(node: Node) -> Node | None:
    """prelu with slopes [C, 1, 1] for [C], which broadcast: so it can join the operator before."""
    x, weight = node.inputs
    assert isinstance(node.op, Prelu)
    if weight.constant is None or node.op.broadcasts(x.type, weight.type):
        return None
    aligned = weight.constant.reshape(-1, *[1] * (x.type.rank - 2))
    kind = TensorType.plain(aligned.shape, weight.type.dtype)
    return replace(node, inputs=(x, replace(weight, op=Constant(aligned), type=kind)))


def _without_window(node: Node, op: Pool) -> Node | None:
    """A window of one element, at every position once."""
    x = node.inputs[0]
    window = op.window(x.type)
    moves = {*window.kernel, *window.stride} != {1} or any(map(any, window.pads))
    return None if moves or x.type != node.type else x
