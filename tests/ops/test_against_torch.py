"""References against PyTorch: what ONNX lacks, and where PyTorch is the definition."""

from collections.abc import Callable
from functools import reduce
from itertools import product

import numpy as np
import pytest

from cnnc.ops.activations.celu import Celu
from cnnc.ops.activations.clip import Clip
from cnnc.ops.activations.elu import Elu
from cnnc.ops.activations.gelu import Gelu
from cnnc.ops.activations.hard_sigmoid import HardSigmoid
from cnnc.ops.activations.leaky_relu import LeakyRelu
from cnnc.ops.activations.prelu import Prelu
from cnnc.ops.arithmetic.max import Max
from cnnc.ops.arithmetic.min import Min
from cnnc.ops.arithmetic.pow import Pow
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.dense import Dense
from cnnc.ops.log_softmax import LogSoftmax
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Maximum, Norm
from cnnc.ops.softmax import Softmax
from cnnc.ops.spec import Operator
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
    "selu": functional.selu,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "mish": functional.mish,
    "abs": torch.abs,
    "neg": torch.neg,
    "sqrt": torch.sqrt,
    "erf": torch.erf,
    "exp": torch.exp,
    "log": torch.log,
}


def run_pointwise(op: Operator, x: "torch.Tensor", *rest: "torch.Tensor") -> "torch.Tensor | None":
    """The result of a pointwise operator with attributes or several operands."""
    match op:
        case LeakyRelu(slope=alpha) | Elu(alpha=alpha) | Celu(alpha=alpha):
            return getattr(functional, op.name)(x, alpha)
        case HardSigmoid() if op == HardSigmoid():
            return functional.hardsigmoid(x)
        case Clip(low=low, high=high):
            return functional.hardtanh(x, low, high)
        case Prelu():
            return functional.prelu(x, rest[0])
        case Max() | Min():
            return reduce(getattr(torch, f"{op.name}imum"), [x, *rest])
        case Pow():
            return torch.pow(x, rest[0])
    return None


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
        case LogSoftmax(axis=axis):
            y = functional.log_softmax(x, axis)
        case Softmax(axis=axis):
            y = functional.softmax(x, axis)
        case Gelu(approximate=approximate):
            y = functional.gelu(x, approximate=approximate)
        case op if op.name in ACTIVATIONS:
            y = ACTIVATIONS[op.name](x)
        case _:
            y = run_pointwise(case.op, x, *rest)
    if y is None:
        return None
    result: Real = y.numpy()
    return result


PAIRS = [(case, y) for case in CASES if (y := run_torch(case)) is not None]


@pytest.mark.parametrize(("case", "expected"), PAIRS, ids=[str(case) for case, _ in PAIRS])
def test_reference_is_what_pytorch_computes(case: Case, expected: Real) -> None:
    # PyTorch's softplus is x above 20.
    atol = 3e-9 if case.op.name == "softplus" else 1e-12
    np.testing.assert_allclose(case.op.reference(*case.operands), expected, rtol=1e-9, atol=atol)


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


@pytest.mark.parametrize("name", ["celu", "elu", "leaky_relu"])
def test_special_values_with_a_slope(name: str) -> None:
    op = next(case.op for case in CASES if case.op.name == name)
    expected = getattr(functional, name)(torch.from_numpy(SPECIAL)).numpy()
    np.testing.assert_allclose(op.reference(SPECIAL), expected, rtol=1e-9)


@pytest.mark.parametrize("op", [Max(), Min(), Pow()], ids=lambda op: op.name)
def test_special_values_of_pairs(op: Max | Min | Pow) -> None:
    """Every pair, half-integers and odd and even exponents among them."""
    values = [*SPECIAL[0], 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -2.0, -3.0]
    a, b = (np.array(side) for side in zip(*product(values, values), strict=True))
    name = "pow" if op.name == "pow" else f"{op.name}imum"
    expected = getattr(torch, name)(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(op.reference(a, b), expected, rtol=1e-9)


@pytest.mark.parametrize("size", [np.nan, np.inf, -np.inf, 1e300])
def test_special_values_in_softmax(size: float) -> None:
    x = np.array([[0.0, size, 1.0]])
    expected = functional.softmax(torch.from_numpy(x), 1).numpy()
    np.testing.assert_allclose(Softmax().reference(x), expected)


def test_a_maximum_keeps_nan_as_in_pytorch() -> None:
    x = np.array([[[1.0, np.nan, 2.0, 3.0]]])
    expected = functional.max_pool1d(torch.from_numpy(x), 2).numpy()
    np.testing.assert_array_equal(Pool(Maximum(), (2,)).reference(x), expected)
