"""Operators that work element by element."""

from collections.abc import Sequence

from cnnc.ir.graph import Node
from cnnc.onnx.emit.writer import Writer, constant_of, emit, operand_type, per_channel
from cnnc.ops.activations.celu import Celu
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
from cnnc.ops.activations.selu import ALPHA, SCALE, Selu
from cnnc.ops.activations.sigmoid import Sigmoid
from cnnc.ops.activations.silu import Silu
from cnnc.ops.activations.softplus import Softplus
from cnnc.ops.activations.softsign import Softsign
from cnnc.ops.activations.tanh import Tanh
from cnnc.ops.arithmetic.abs import Abs
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.div import Div
from cnnc.ops.arithmetic.erf import Erf
from cnnc.ops.arithmetic.exp import Exp
from cnnc.ops.arithmetic.log import Log
from cnnc.ops.arithmetic.max import Max
from cnnc.ops.arithmetic.min import Min
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.arithmetic.neg import Neg
from cnnc.ops.arithmetic.pow import Pow
from cnnc.ops.arithmetic.round import Round
from cnnc.ops.arithmetic.sqrt import Sqrt
from cnnc.ops.arithmetic.sub import Sub
from cnnc.ops.cast import Cast
from cnnc.ops.identity import Identity
from cnnc.ops.preprocess import Preprocess

SAME: dict[type, str] = {
    **{Abs: "Abs", Erf: "Erf", Exp: "Exp", Log: "Log", Neg: "Neg", Sqrt: "Sqrt"},
    **{Relu: "Relu", Sigmoid: "Sigmoid", Softplus: "Softplus", Softsign: "Softsign", Tanh: "Tanh"},
    **{Mish: "Mish", Div: "Div", Pow: "Pow", Sub: "Sub"},
    **{Max: "Max", Min: "Min", Round: "Round"},
}
"""Operators that ONNX has under another name, with the same operands."""


def _same(op: object, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add(SAME[type(op)], *inputs)


for _kind in SAME:
    emit.register(_kind, _same)


@emit.register
def _identity(op: Identity, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return inputs[0]


@emit.register
def _cast(op: Cast, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.cast(inputs[0], op.dtype)


@emit.register
def _add(op: Add, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Add" if len(inputs) == 2 else "Sum", *inputs)


@emit.register
def _mul(op: Mul, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    total, *rest = inputs
    for each in rest:
        total = writer.add("Mul", total, each)
    return total


@emit.register
def _clip(op: Clip, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Clip", inputs[0], writer.constant(op.low), writer.constant(op.high))


@emit.register
def _relu6(op: Relu6, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Clip", inputs[0], writer.constant(0.0), writer.constant(6.0))


@emit.register
def _silu(op: Silu, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Mul", inputs[0], writer.add("Sigmoid", inputs[0]))


@emit.register
def _leaky(op: LeakyRelu, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    if not writer.holds(op.slope):
        return writer.add("PRelu", inputs[0], writer.constant(op.slope))
    return writer.add("LeakyRelu", inputs[0], alpha=op.slope)


@emit.register
def _prelu(op: Prelu, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    slopes = per_channel(node, constant_of(node, 1).reshape(-1))
    return writer.add("PRelu", inputs[0], writer.constant(slopes))


@emit.register
def _hard_sigmoid(op: HardSigmoid, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    if not writer.holds(op.alpha, op.beta):
        return _line(inputs[0], op.alpha, op.beta, writer)
    return writer.add("HardSigmoid", inputs[0], alpha=op.alpha, beta=op.beta)


@emit.register
def _hardswish(op: Hardswish, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    if writer.is_wide:  # ONNX's sixth is one of float32
        return writer.add("Mul", inputs[0], _line(inputs[0], 1 / 6, 0.5, writer))
    return writer.add("HardSwish", inputs[0])


def _line(x: str, slope: float, offset: float, writer: Writer) -> str:
    """slope x + offset, kept between 0 and 1."""
    scaled = writer.add("Mul", x, writer.constant(slope))
    moved = writer.add("Add", scaled, writer.constant(offset))
    return writer.add("Clip", moved, writer.constant(0.0), writer.constant(1.0))


@emit.register
def _elu(op: Elu, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    if not writer.holds(op.alpha):
        return writer.add("PRelu", writer.add("Elu", inputs[0]), writer.constant(op.alpha))
    return writer.add("Elu", inputs[0], alpha=op.alpha)


@emit.register
def _celu(op: Celu, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    if writer.is_wide:  # which ONNX's has not
        below = writer.add("Min", inputs[0], writer.constant(0.0))
        scaled = writer.add("Elu", writer.add("Div", below, writer.constant(op.alpha)))
        curved = writer.add("Mul", scaled, writer.constant(op.alpha))
        return writer.add("Add", writer.add("Max", inputs[0], writer.constant(0.0)), curved)
    return writer.add("Celu", inputs[0], alpha=op.alpha)


@emit.register
def _selu(op: Selu, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    if writer.is_wide:  # ONNX's factors are of float32
        below = writer.add("PRelu", writer.add("Elu", inputs[0]), writer.constant(ALPHA))
        return writer.add("Mul", below, writer.constant(SCALE))
    return writer.add("Selu", inputs[0])


@emit.register
def _gelu(op: Gelu, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Gelu", inputs[0], approximate=op.approximate)


@emit.register
def _preprocess(op: Preprocess, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    x, before = inputs[0], operand_type(node)
    if before.dtype is not node.type.dtype:
        x = writer.cast(x, node.type.dtype)
    if op.is_last:
        x = writer.add("Transpose", x, perm=[0, before.rank - 1, *range(1, before.rank - 1)])
    if op.colors == "bgr":
        x = writer.add("Gather", x, writer.integers([2, 1, 0]), axis=1)
    if op.computes:
        factor, offset = (per_channel(node, constant_of(node, place)) for place in (1, 2))
        x = writer.add("Mul", x, writer.constant(factor))
        x = writer.add("Add", x, writer.constant(offset))
    return x
