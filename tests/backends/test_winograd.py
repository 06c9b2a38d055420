"""Winograd's algorithm: every form of it against its reference, and against the convolution."""

from math import prod

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.native.targets import named_target, runs_here
from cnnc.base.target import Target
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.cook_toom import PAIRS, cook_toom, transform_weights
from cnnc.ops.winograd import Winograd
from tests.backends.compilers import BACKENDS, NATIVE
from tests.backends.support import assert_within, run, single
from tests.backends.test_operators import SPECIAL
from tests.backends.winograd_errors import error_ratio

BOTH = ((1, 1), (1, 1))
# results of a tile, pads, bias, rows, vectors at once, columns, parts; shape of x, channels
FORMS = [
    pytest.param((4, BOTH, True, 1, 1, 3, 1), (2, 16, 9, 8), 32, id="last-row-of-one"),
    pytest.param((4, BOTH, False, 2, 2, 4, 1), (1, 20, 12, 16), 32, id="whole-tiles"),
    pytest.param((4, ((0, 0), (2, 1)), True, 2, 1, 2, 2), (1, 17, 11, 7), 32, id="parts"),
    pytest.param((2, BOTH, True, 3, 1, 5, 1), (1, 16, 7, 7), 19, id="two-results"),
    pytest.param((6, BOTH, True, 1, 1, 2, 1), (1, 16, 8, 13), 16, id="six-results"),
    pytest.param((4, ((1, 1),), True, 2, 1, 2, 1), (2, 18, 21), 16, id="series"),
    pytest.param((6, ((2, 0),), False, 3, 2, 3, 1), (1, 16, 40), 32, id="causal-series"),
    pytest.param((4, BOTH, True, 1, 1, 1, 1), (1, 16, 1, 1), 16, id="one-position"),
    pytest.param((4, BOTH, True, 2, 1, 4, 1), (1, 9, 8, 8), 32, id="nine-channels"),
    pytest.param((4, BOTH, False, 1, 2, 2, 1), (1, 12, 8, 9), 32, id="twelve-channels"),
    pytest.param((4, BOTH, True, 2, 1, 3, 1), (1, 5, 8, 8), 16, id="five-channels"),
    pytest.param((2, BOTH, True, 2, 1, 4, 1), (1, 3, 6, 8), 16, id="three-channels"),
]
Form = tuple[int, tuple[tuple[int, int], ...], bool, int, int, int, int]


def _target(name: str, backend: Backend) -> Target:
    target = named_target(name)
    if backend is NATIVE and not runs_here(target):
        pytest.skip(f"this machine does not run {name} code")
    return target


def _op(form: Form, channels: int, target: Target) -> Winograd:
    results, pads, bias, rows, vectors, columns, parts = form
    lanes = target.vector_bits // 32
    return Winograd(results, channels, pads, bias, rows, vectors * lanes, columns, parts)


def _operands(form: Form, shape: tuple[int, ...], channels: int) -> list[np.ndarray]:
    """Input, plain weights and bias."""
    rng = np.random.default_rng(prod(shape))
    axes = len(shape) - 2
    made = [shape, (channels, shape[1], *[3] * axes), *[(channels,)] * form[2]]
    return [rng.standard_normal(each).astype(np.float32) for each in made]


def _transformed(weight: np.ndarray, results: int) -> np.ndarray:
    return transform_weights(weight.astype(np.float64), results).astype(np.float32)


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("form", "shape", "channels"), FORMS)
def test_every_form_agrees_with_its_reference(
    form: Form, shape: tuple[int, ...], channels: int, backend: Backend, name: str
) -> None:
    target = _target(name, backend)
    op = _op(form, channels, target)
    x, weight, *bias = _operands(form, shape, channels)
    operands = [x, _transformed(weight, op.results), *bias]
    out = run(single(op, [x], operands[1:]), [x], backend, target)[0]
    assert_within(op, out, op.reference(*(each.astype(np.float64) for each in operands)), operands)


@pytest.mark.parametrize(("form", "shape", "channels"), FORMS)
def test_the_reference_is_the_convolution(
    form: Form, shape: tuple[int, ...], channels: int
) -> None:
    """In float64, with the weights as they are before they are rounded."""
    op = _op(form, channels, named_target("x86-64-v4"))
    x, weight, *bias = (each.astype(np.float64) for each in _operands(form, shape, channels))
    conv = Conv(channels, (3,), pad=Padding(explicit=form[1]), bias=op.bias)
    made = op.reference(x, transform_weights(weight, op.results), *bias)
    np.testing.assert_allclose(made, conv.reference(x, weight, *bias), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("backend", "name"), BACKENDS[:3])
@pytest.mark.parametrize("scale", [1.0, 1e-38, 3e17], ids=["normal", "subnormal", "huge"])
@pytest.mark.parametrize("special", [False, True], ids=["finite", "special"])
def test_extreme_values_stay_within_the_bound(
    special: bool, scale: float, backend: Backend, name: str
) -> None:
    """NaN and infinities spread over the tiles that read them, as in the reference."""
    target = _target(name, backend)
    form: Form = (4, BOTH, True, 2, 1, 3, 1)
    op = _op(form, 16, target)
    x, weight, bias = _operands(form, (1, 16, 10, 9), 16)
    x *= np.float32(scale)
    if special:
        places = np.random.default_rng(0).integers(x.size, size=12)
        x.reshape(-1)[places] = np.resize(np.asarray(SPECIAL, np.float32), 12)
    operands = [x, _transformed(weight, 4), bias]
    out = run(single(op, [x], operands[1:]), [x], backend, target)[0]
    with np.errstate(all="ignore"):
        exact = op.reference(*(each.astype(np.float64) for each in operands))
    assert_within(op, out, exact, operands)
    if special:
        assert np.isnan(out).any()
        assert np.isfinite(out).any()


def test_cancellation_stays_within_the_bound() -> None:
    """Large inputs whose sums are small: the error is large against the result, not the bound."""
    target = _target("native", NATIVE)
    op = _op((4, BOTH, False, 1, 1, 4, 1), 16, target)
    rng = np.random.default_rng(7)
    half = rng.standard_normal((1, 16, 16, 16)).astype(np.float32) * 1e6
    x = np.concatenate([half, -half], axis=1)
    weight = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    doubled = np.concatenate([weight, weight], axis=1)
    operands = [x, _transformed(doubled, 4)]
    out = run(single(op, [x], operands[1:]), [x], NATIVE, target)[0]
    exact = op.reference(*(each.astype(np.float64) for each in operands))
    assert np.abs(exact).max() < 1e-6 * np.abs(x).max()
    assert np.abs(out).max() > 0
    assert_within(op, out, exact, operands)


@pytest.mark.parametrize(("results", "worst"), [(2, 2.5), (4, 5.0), (6, 25.0)])
def test_errors_are_a_small_multiple_of_the_convolutions(results: int, worst: float) -> None:
    """What docs/numerics.md says: root mean square against summing products one by one."""
    assert 0 < error_ratio(results, 64) < worst


@pytest.mark.parametrize("results", sorted(PAIRS))
def test_the_transforms_are_exact_in_float32(results: int) -> None:
    """Only weights are rounded when they are transformed."""
    made = cook_toom(results)
    for matrix in (made.input, made.output):
        assert np.array_equal(matrix, matrix.astype(np.float32))
    # y = A^T ((G g) * (B^T d)) for all d and g: the products' coefficients, one by one
    for tap in range(3):
        for position in range(results + 2):
            y = made.output @ (made.weight[:, tap] * made.input[:, position])
            wanted = [1.0 if step + tap == position else 0.0 for step in range(results)]
            np.testing.assert_allclose(y, wanted, atol=1e-12)
