"""Reductions, products of matrices and casts against ONNX Runtime."""

import numpy as np
import pytest
from onnx import helper

from cnnc.base.dtype import DType
from cnnc.ops.cast import Cast
from cnnc.ops.reductions.arg import ArgExtreme
from cnnc.ops.reductions.matmul import MatMul
from cnnc.ops.reductions.reduce import Reduce
from cnnc.ops.reductions.reduce_kinds import KINDS
from cnnc.ops.spec import Operator
from tests.ops.cases import CASES, Case, Real, dtype_of, stored
from tests.ops.evaluate_loops import run_loops
from tests.ops.onnx_model import OnnxOperator, run_onnx

NAMES = {
    "mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin",
    "l1": "ReduceL1", "l2": "ReduceL2",
}  # fmt: skip
REDUCTIONS = [case for case in CASES if isinstance(case.op, Reduce | ArgExtreme | MatMul)]
CASTS = [case for case in CASES if isinstance(case.op, Cast)]


def run(op: Operator, *operands: Real) -> Real:
    """What ONNX Runtime makes of floating-point operands."""
    match op:
        case Reduce(kind=kind, axes=axes, keep=keep):
            along = np.array(axes, np.int64)
            return run_onnx(NAMES[kind.name], operands, {"keepdims": int(keep)}, [along])
        case ArgExtreme(axis=axis, keep=keep):
            attributes = {"axis": axis, "keepdims": int(keep)}
            name = {"argmax": "ArgMax", "argmin": "ArgMin"}[op.name]
            ranks = [operand.ndim for operand in operands]
            return OnnxOperator(name, ranks, attributes, result=np.int64)(*operands)
    return run_onnx("MatMul", operands, {})


@pytest.mark.parametrize("case", REDUCTIONS, ids=str)
def test_reference_is_what_onnx_runtime_computes(case: Case) -> None:
    expected = run(case.op, *case.operands)
    reference = case.op.reference(*case.operands)
    assert reference.shape == expected.shape
    np.testing.assert_allclose(reference, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", NAMES)
def test_nan_and_infinities_are_reduced_alike(kind: str) -> None:
    """But for NaN among extremes: ONNX Runtime passes it by, NumPy and PyTorch keep it."""
    op = Reduce(KINDS[kind], (-1,))
    x = np.array([[np.inf, 1, 2], [-np.inf, np.inf, 0], [0.0, -0.0, -np.inf], [1, np.nan, 2]])
    with np.errstate(invalid="ignore"):
        reference = op.reference(x)
    same = slice(None, 3 if kind in ("max", "min") else None)
    np.testing.assert_array_equal(reference[same], run(op, x)[same])
    assert np.isnan(reference[3])
    np.testing.assert_array_equal(run_loops(op, [x]), reference)


def test_first_of_equals_and_nan() -> None:
    """Ties go to the first in ONNX Runtime too; a NaN wins in NumPy, which is what cnnc says."""
    ties = np.array([[3.0, 5.0, 5.0, 1.0], [1.0, 0.0, 0.0, 1.0], [-np.inf] * 4, [np.inf] * 4])
    nans = np.array([[3.0, np.nan, 9.0, np.nan], [np.nan, 0.0, 1.0, np.inf]])
    for name, numpy in (("argmax", np.argmax), ("argmin", np.argmin)):
        op = next(case.op for case in CASES if case.op.name == name)
        np.testing.assert_array_equal(op.reference(ties), run(op, ties))
        for x in (ties, nans):
            np.testing.assert_array_equal(op.reference(x), numpy(x, axis=1))
            np.testing.assert_array_equal(run_loops(op, [x]), numpy(x, axis=1))


@pytest.mark.parametrize("case", CASTS, ids=str)
def test_casts_within_range_are_those_of_onnx_runtime(case: Case) -> None:
    """ONNX leaves open what becomes of floats that no integer of the type is near."""
    (x,) = case.operands
    assert isinstance(case.op, Cast)
    if x.dtype.kind == "f" and case.op.dtype is DType.U8:
        x = np.abs(x)
    kind, result = dtype_of(x).numpy, case.op.dtype.numpy
    to = {"to": int(helper.np_dtype_to_tensor_dtype(result))}
    expected = OnnxOperator("Cast", [x.ndim], to, kinds=[kind], result=result)(x)
    np.testing.assert_array_equal(stored(case.op.reference(x)), expected.astype(result))
