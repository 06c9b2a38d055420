"""Operators that work element by element, and normalisations."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from cnnc.base.dtype import DType
from cnnc.ir.graph import Node
from cnnc.ops.activations.clip import Clip
from cnnc.ops.activations.elu import Elu
from cnnc.ops.activations.gelu import Gelu
from cnnc.ops.activations.hard_sigmoid import HardSigmoid
from cnnc.ops.activations.hardswish import Hardswish
from cnnc.ops.activations.leaky_relu import LeakyRelu
from cnnc.ops.activations.mish import Mish
from cnnc.ops.activations.prelu import Prelu
from cnnc.ops.activations.relu import Relu
from cnnc.ops.activations.relu6 import Relu6
from cnnc.ops.activations.selu import Selu
from cnnc.ops.activations.sigmoid import Sigmoid
from cnnc.ops.activations.silu import Silu
from cnnc.ops.activations.softplus import Softplus
from cnnc.ops.activations.softsign import Softsign
from cnnc.ops.activations.tanh import Tanh
from cnnc.ops.arithmetic.abs import Abs
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.div import Div
from cnnc.ops.arithmetic.exp import Exp
from cnnc.ops.arithmetic.folds import Fold
from cnnc.ops.arithmetic.log import Log
from cnnc.ops.arithmetic.max import Max
from cnnc.ops.arithmetic.min import Min
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.arithmetic.neg import Neg
from cnnc.ops.arithmetic.pow import Pow
from cnnc.ops.arithmetic.sqrt import Sqrt
from cnnc.ops.arithmetic.sub import Sub
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.identity import Identity
from cnnc.ops.log_softmax import LogSoftmax
from cnnc.ops.normalisation.lrn import Lrn
from cnnc.ops.preprocess import Preprocess
from cnnc.ops.softmax import Softmax
from peers.to_torch.builder import Builder, build, operand_type
from peers.unsupported import UnsupportedError

SAME: dict[type, Callable[..., Any]] = {
    **{Abs: torch.abs, Exp: torch.exp, Log: torch.log, Neg: torch.neg, Sqrt: torch.sqrt},
    **{Div: torch.div, Pow: torch.pow, Sub: torch.sub, Tanh: torch.tanh, Sigmoid: torch.sigmoid},
    **{Relu: functional.relu, Relu6: functional.relu6, Silu: functional.silu},
    **{Hardswish: functional.hardswish, Mish: functional.mish, Selu: functional.selu},
    **{Softplus: functional.softplus, Softsign: functional.softsign},
}
"""Operators that PyTorch has under another name, with the same operands."""
FOLDS: dict[type, Callable[..., Any]] = {
    **{Add: torch.add, Mul: torch.mul, Max: torch.maximum, Min: torch.minimum}
}
"""Operators of two operands or more, taken two at a time."""


def _same(op: object, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(SAME[type(op)], *inputs)


for _kind in SAME:
    build.register(_kind, _same)


@build.register
def _fold(op: Fold, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    total, *rest = inputs
    for each in rest:
        total = builder.call(FOLDS[type(op)], total, each)
    return total


@build.register
def _identity(op: Identity, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return inputs[0]


@build.register
def _clip(op: Clip, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(torch.clamp, inputs[0], op.low, op.high)


@build.register
def _leaky(op: LeakyRelu, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(functional.leaky_relu, inputs[0], op.slope)


@build.register
def _prelu(op: Prelu, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    slopes = node.inputs[1].constant
    assert slopes is not None
    return builder.call(functional.prelu, inputs[0], builder.constant(slopes.reshape(-1)))


@build.register
def _hard_sigmoid(
    op: HardSigmoid, node: Node, inputs: Sequence[fx.Node], builder: Builder
) -> fx.Node:
    if op == HardSigmoid():
        return builder.call(functional.hardsigmoid, inputs[0])
    line = builder.call(torch.add, builder.call(torch.mul, inputs[0], op.alpha), op.beta)
    return builder.call(torch.clamp, line, 0, 1)


@build.register
def _elu(op: Elu, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(functional.elu, inputs[0], op.alpha)


@build.register
def _gelu(op: Gelu, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(functional.gelu, inputs[0], approximate=op.approximate)


@build.register
def _softmax(op: Softmax, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    return builder.call(functional.softmax, inputs[0], dim=op.axis)


@build.register
def _log_softmax(
    op: LogSoftmax, node: Node, inputs: Sequence[fx.Node], builder: Builder
) -> fx.Node:
    return builder.call(functional.log_softmax, inputs[0], dim=op.axis)


@build.register
def _batchnorm(op: BatchNorm, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    x, weight, bias, mean, var = inputs
    return builder.call(functional.batch_norm, x, mean, var, weight, bias, False, 0.0, op.eps)


@build.register
def _lrn(op: Lrn, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    if op.size % 2 == 0 or operand_type(node).rank < 3:
        raise UnsupportedError(f"`{node.name}`: PyTorch takes lrn of odd sizes and of space only")
    numbers = (op.size, op.alpha, op.beta, op.k)
    return builder.call(functional.local_response_norm, inputs[0], *numbers)


@build.register
def _preprocess(op: Preprocess, node: Node, inputs: Sequence[fx.Node], builder: Builder) -> fx.Node:
    x, before = inputs[0], operand_type(node)
    if before.dtype is not DType.F32:
        x = builder.call(torch.Tensor.to, x, torch.float32)
    if op.is_last:
        x = builder.call(torch.movedim, x, -1, 1)
    if op.colors == "bgr":
        x = builder.call(torch.flip, x, [1])
    if op.computes:
        shape = (-1, *[1] * (before.rank - 2))
        factor, offset = (builder.call(torch.reshape, each, shape) for each in inputs[1:])
        x = builder.call(torch.add, builder.call(torch.mul, x, factor), offset)
    return x
