"""Comparisons and choices against ONNX Runtime, NaN, infinities and signed zeros included."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.load import Choices, load_text
from cnnc.ops.comparisons.equal import Equal
from cnnc.ops.comparisons.less import Less
from cnnc.ops.comparisons.less_equal import LessEqual
from cnnc.ops.comparisons.where import Where
from cnnc.ops.spec import Operator
from tests.ops.evaluate_loops import run_loops
from tests.ops.onnx_model import OnnxOperator

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.5, 1e-40, 3e38], np.float32)
OPERATORS = {"Less": Less(), "LessOrEqual": LessEqual(), "Equal": Equal()}
Array = NDArray[np.generic]


def pairs(dtype: DType) -> tuple[Array, Array]:
    """All pairs of special values, or of integers."""
    values = SPECIAL if dtype is DType.F32 else np.array([0, 1, 2, 100], dtype.numpy)
    return values.reshape(1, -1, 1), values.reshape(1, 1, -1)


@pytest.mark.parametrize("dtype", [DType.F32, DType.I32, DType.I64, DType.U8], ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_comparisons(name: str, dtype: DType) -> None:
    a, b = pairs(dtype)
    expected = OnnxOperator(name, [3, 3], {}, kinds=[dtype.numpy] * 2, result=np.bool_)(a, b)
    op = OPERATORS[name]
    np.testing.assert_array_equal(op.reference(a, b), expected)
    np.testing.assert_array_equal(run_loops(op, [a, b]), expected)


@pytest.mark.parametrize("dtype", [DType.F32, DType.I64], ids=str)
def test_choices(dtype: DType) -> None:
    a, b = pairs(dtype)
    holds = np.arange(a.size * b.size).reshape(1, a.size, b.size) % 3 == 0
    kinds = [np.dtype(np.bool_), dtype.numpy, dtype.numpy]
    expected = OnnxOperator("Where", [3, 3, 3], {}, kinds=kinds, result=dtype.numpy)(holds, a, b)
    np.testing.assert_array_equal(Where().reference(holds, a, b), expected)
    np.testing.assert_array_equal(run_loops(Where(), [holds, a, b]), expected)


@pytest.mark.parametrize("op", [*OPERATORS.values(), Where()], ids=lambda op: op.name)
def test_uncertainty(op: Operator) -> None:
    a, b = np.array([[0.0, 1.0]]), np.array([[0.1, 3.0]])
    inputs = [a, b] if op.name != "where" else [np.array([[True, False]]), a, b]
    errors = [np.full((1, 2), 0.1) for _ in inputs]
    bound = op.error(2.0**-24, op.reference(*inputs), inputs, errors)
    expected = [[0.3, 2.2]] if op.name == "where" else [[1.0, 0.0]]
    np.testing.assert_allclose(bound, expected)


@pytest.mark.parametrize(
    ("stage", "why"),
    [
        ("where(x, x, x)", "a condition is bool, not f32"),
        ("where(less(x, 0), x, x -> cast(i32))", "operands are f32 and i32"),
        ("less(x, x -> cast(i64))", "operands are f32 and i64"),
    ],
)
def test_refusals(stage: str, why: str) -> None:
    text = f"cnn 1\nnet n {{\n  input x: f32[N, 3]\n  output y = {stage}\n}}\n"
    with pytest.raises(UserError, match=why):
        load_text(SourceFile("t", text), None, Choices())
