"""References against ONNX Runtime."""

from itertools import product

import numpy as np
import pytest

from cnnc.ir.graph import OpError
from cnnc.ops.activations.clip import Clip
from cnnc.ops.activations.gelu import Gelu
from cnnc.ops.activations.leaky_relu import LeakyRelu
from cnnc.ops.activations.relu6 import Relu6
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.attributes import Padding
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.concat import Concat
from cnnc.ops.dense import Dense
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm, Reduction
from cnnc.ops.softmax import Softmax
from cnnc.ops.spec import Operator
from tests.ops.cases import CASES, Case
from tests.ops.evaluate_loops import run_loops
from tests.ops.onnx_model import OnnxOperator, run_onnx
from tests.ops.onnx_windows import OnnxCall, translate_window

SAME_NAME = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "HardSwish", "mul": "Mul",
    "sub": "Sub", "div": "Div", "flatten": "Flatten", "id": "Identity", "dropout": "Dropout",
}  # fmt: skip
ELSEWHERE = {"reshape", "slice", "pad", "transpose", "depth_to_space", "space_to_depth"}
"""Operators that test_movement_against_onnx compares."""
NO_COUNTERPART = {"silu", "unshared", "preprocess", *ELSEWHERE}


def translate(case: Case) -> OnnxCall | None:
    """The ONNX operator that computes the same, its operands and attributes, if there is one."""
    if call := translate_window(case):
        return call
    x = case.operands[0]
    match case.op:
        case Dense():
            return "Gemm", case.operands, {"transB": 1}
        case BatchNorm(eps=eps):
            return "BatchNormalization", case.operands, {"epsilon": eps}
        case Softmax(axis=axis):
            return "Softmax", case.operands, {"axis": axis}
        case Concat(axis=axis):
            return "Concat", case.operands, {"axis": axis}
        case LeakyRelu(slope=slope):
            return "LeakyRelu", case.operands, {"alpha": slope}
        case Gelu(approximate=approximate):
            return "Gelu", case.operands, {"approximate": approximate}
        case Clip(low=low, high=high):
            return "Clip", [x, np.array(low), np.array(high)], {}
        case Relu6():
            return "Clip", [x, np.array(0.0), np.array(6.0)], {}
        case Add():
            return "Sum", case.operands, {}
    name = SAME_NAME.get(case.op.name)
    return (name, case.operands, {}) if name and len(case.operands) < 3 else None


PAIRS = [(case, call) for case in CASES if (call := translate(case))]


@pytest.mark.parametrize(("case", "call"), PAIRS, ids=[str(case) for case, _ in PAIRS])
def test_reference_is_what_onnx_runtime_computes(case: Case, call: OnnxCall) -> None:
    expected = run_onnx(*call)
    reference = case.op.reference(*case.operands)
    assert reference.shape == expected.shape
    np.testing.assert_allclose(reference, expected, rtol=1e-4, atol=1e-5)


def test_every_operator_is_compared() -> None:
    compared = {case.op.name for case, _ in PAIRS}
    assert {case.op.name for case in CASES} - compared == NO_COUNTERPART


WINDOWS = [
    (k, stride, (before, after), dilation)
    for k, stride, dilation in product((1, 2, 3), (1, 2, 4), (1, 2))
    for before, after in product(range(k), range(k))
]


KINDS = [(Maximum(), False), (Average(), False), (Average(), True), (Norm(2.0), False)]


@pytest.mark.parametrize("ceil", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize(("kind", "count_pad"), KINDS, ids=["max", "avg", "avg-count_pad", "l2"])
def test_pooling_of_every_small_series(kind: Reduction, count_pad: bool, ceil: bool) -> None:
    """Every kernel, stride, padding, dilation and length up to a few."""
    rng = np.random.default_rng(3)
    compared = 0
    for k, stride, ends, dilation in WINDOWS:
        pad = Padding(explicit=(ends,))
        op = Pool(kind, (k,), (stride,), pad, (dilation,), ceil, count_pad)
        call = translate(Case(op, (np.zeros((1, 1, 9)),)))
        assert call is not None
        onnx = OnnxOperator(call[0], [3], call[2])
        for length in range(1, 9):
            x = rng.normal(size=(1, 2, length))
            try:
                reference = op.reference(x)
            except OpError:
                continue  # test_windows says which
            expected = onnx(x)
            assert reference.shape == expected.shape, op.label
            np.testing.assert_allclose(reference, expected, rtol=1e-5, atol=1e-6)
            compared += 1
    assert compared > 550


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 90.0, -90.0, 1e-30, -1e-30])
ACTIVATIONS = {
    str(case.op.label): case.op
    for case, call in PAIRS
    if len(case.operands) == 1 and isinstance(case.op, Pointwise)
}


@pytest.mark.parametrize("op", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_special_values_go_the_same_way(op: Operator) -> None:
    x = SPECIAL.reshape(1, -1).astype(np.float32).astype(np.float64)
    call = translate(Case(op, (x,)))
    assert call is not None
    expected = run_onnx(*call)
    with np.errstate(all="ignore"):
        reference = op.reference(x).astype(np.float32)
    loops = run_loops(op, [x.astype(np.float32)])
    np.testing.assert_allclose(reference, expected, rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(loops, expected, rtol=1e-5, atol=1e-30)
