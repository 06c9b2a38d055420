"""References against PyTorch: what ONNX lacks, and where PyTorch is the definition."""

from collections.abc import Callable

import numpy as np
import pytest

from cnnc.ops.activations.gelu import Gelu
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.dense import Dense
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Maximum, Norm
from cnnc.ops.softmax import Softmax
from tests.ops.cases import CASES, Case, Real

torch = pytest.importorskip("torch")
from tests.ops.torch_windows import run_window  # noqa: E402

functional = torch.nn.functional
pytestmark = pytest.mark.torch

ACTIVATIONS: dict[str, Callable[..., "torch.Tensor"]] = {
    "relu": torch.relu,
    "relu6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": functional.silu,
    "hardswish": functional.hardswish,
}


def run_torch(case: Case) -> Real | None:
    """The result of the same operator in PyTorch, or None if this is not it."""
    if (made := run_window(case)) is not None:
        return np.asarray(made.numpy())
    x, *rest = (torch.from_numpy(operand) for operand in case.operands)
    match case.op:
        case Dense():
            y = functional.linear(x, *rest)
        case BatchNorm(eps=eps):
            weight, bias, mean, var = rest
            y = functional.batch_norm(x, mean, var, weight, bias, eps=eps)
        case Softmax(axis=axis):
            y = functional.softmax(x, axis)
        case Gelu(approximate=approximate):
            y = functional.gelu(x, approximate=approximate)
        case op if op.name in ACTIVATIONS:
            y = ACTIVATIONS[op.name](x)
        case _:
            return None
    result: Real = y.numpy()
    return result


PAIRS = [(case, y) for case in CASES if (y := run_torch(case)) is not None]


@pytest.mark.parametrize(("case", "expected"), PAIRS, ids=[str(case) for case, _ in PAIRS])
def test_reference_is_what_pytorch_computes(case: Case, expected: Real) -> None:
    np.testing.assert_allclose(case.op.reference(*case.operands), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 2.5])
def test_norms(p: float) -> None:
    x = np.random.default_rng(4).normal(size=(2, 3, 7, 6))
    expected = functional.lp_pool2d(torch.from_numpy(np.abs(x)), p, 3, 2)
    y = Pool(Norm(p), (3,), (2,)).reference(x)
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-9)


SPECIAL = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 800.0, -800.0, 1e300, -1e300, 1e-300]])


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_special_values(name: str) -> None:
    (op,) = {case.op for case in CASES if case.op.name == name}
    expected = ACTIVATIONS[name](torch.from_numpy(SPECIAL)).numpy()
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(op.reference(SPECIAL), expected, rtol=1e-9)


@pytest.mark.parametrize("size", [np.nan, np.inf, -np.inf, 1e300])
def test_special_values_in_softmax(size: float) -> None:
    x = np.array([[0.0, size, 1.0]])
    expected = functional.softmax(torch.from_numpy(x), 1).numpy()
    np.testing.assert_allclose(Softmax().reference(x), expected)


def test_a_maximum_keeps_nan_as_in_pytorch() -> None:
    x = np.array([[[1.0, np.nan, 2.0, 3.0]]])
    expected = functional.max_pool1d(torch.from_numpy(x), 2).numpy()
    np.testing.assert_array_equal(Pool(Maximum(), (2,)).reference(x), expected)
