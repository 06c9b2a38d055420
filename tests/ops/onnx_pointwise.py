"""Pointwise operators and softmax as ONNX has them."""

import numpy as np

from cnnc.ops.activations.celu import Celu
from cnnc.ops.activations.clip import Clip
from cnnc.ops.activations.elu import Elu
from cnnc.ops.activations.gelu import Gelu
from cnnc.ops.activations.hard_sigmoid import HardSigmoid
from cnnc.ops.activations.leaky_relu import LeakyRelu
from cnnc.ops.activations.prelu import Prelu
from cnnc.ops.activations.relu6 import Relu6
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.max import Max
from cnnc.ops.arithmetic.min import Min
from cnnc.ops.log_softmax import LogSoftmax
from cnnc.ops.softmax import Softmax
from tests.ops.cases import Case
from tests.ops.onnx_windows import OnnxCall

SAME_NAME = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "HardSwish", "mul": "Mul",
    "sub": "Sub", "div": "Div", "round": "Round",
    "selu": "Selu", "softplus": "Softplus", "softsign": "Softsign", "mish": "Mish", "pow": "Pow",
    "abs": "Abs", "neg": "Neg", "erf": "Erf", "exp": "Exp", "log": "Log", "sqrt": "Sqrt",
}  # fmt: skip


def translate_pointwise(case: Case) -> OnnxCall | None:
    """The ONNX operator that computes the same, its operands and attributes, if there is one."""
    x = case.operands[0]
    match case.op:
        case Softmax(axis=axis):
            return "Softmax", case.operands, {"axis": axis}
        case LogSoftmax(axis=axis):
            return "LogSoftmax", case.operands, {"axis": axis}
        case LeakyRelu(slope=alpha) | Elu(alpha=alpha) | Celu(alpha=alpha):
            return type(case.op).__name__, case.operands, {"alpha": alpha}
        case HardSigmoid(alpha=alpha, beta=beta):
            return "HardSigmoid", case.operands, {"alpha": alpha, "beta": beta}
        case Prelu():
            slopes = case.operands[1].reshape(-1, *[1] * (x.ndim - 2))
            return "PRelu", [x, slopes], {}
        case Gelu(approximate=approximate):
            return "Gelu", case.operands, {"approximate": approximate}
        case Clip(low=low, high=high):
            return "Clip", [x, np.array(low), np.array(high)], {}
        case Relu6():
            return "Clip", [x, np.array(0.0), np.array(6.0)], {}
        case Add():
            return "Sum", case.operands, {}
        case Max() | Min():
            return type(case.op).__name__, case.operands, {}
    name = SAME_NAME.get(case.op.name)
    return (name, case.operands, {}) if name and len(case.operands) < 3 else None
