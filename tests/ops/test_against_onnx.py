"""References against ONNX Runtime."""

import numpy as np
import pytest

from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.concat import Concat
from cnnc.ops.dense import Dense
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Operator
from tests.ops.cases import CASES, Case
from tests.ops.evaluate_loops import run_loops
from tests.ops.onnx_model import run_onnx
from tests.ops.onnx_pointwise import translate_pointwise
from tests.ops.onnx_windows import OnnxCall, translate_window

SAME_NAME = {"flatten": "Flatten", "id": "Identity", "dropout": "Dropout"}
ELSEWHERE = {
    "reshape", "slice", "pad", "transpose", "depth_to_space", "space_to_depth", "resize",
    "reduce", "argmax", "argmin", "pool_argmax", "matmul", "cast", "less", "less_equal", "equal",
    "where",
}  # fmt: skip
"""Operators that tests of their own compare: movement, resizing, reductions, choices, casts."""
NO_COUNTERPART = {
    "silu",
    "unshared",
    "preprocess",
    "round_to",  # test_round_to.py
    *ELSEWHERE,
}


def translate(case: Case) -> OnnxCall | None:
    """The ONNX operator that computes the same, its operands and attributes, if there is one."""
    if call := translate_window(case) or translate_pointwise(case):
        return call
    match case.op:
        case Dense():
            return "Gemm", case.operands, {"transB": 1}
        case BatchNorm(eps=eps):
            return "BatchNormalization", case.operands, {"epsilon": eps}
        case Concat(axis=axis):
            return "Concat", case.operands, {"axis": axis}
    name = SAME_NAME.get(case.op.name)
    return (name, case.operands, {}) if name else None


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
    # ONNX Runtime takes 1 from exp(x), and so has 0 where |x| is small.
    atol = 1e-7 if op.name in ("elu", "celu", "selu") else 1e-30
    np.testing.assert_allclose(reference, expected, rtol=1e-5, atol=atol)
    np.testing.assert_allclose(loops, expected, rtol=1e-5, atol=atol)
