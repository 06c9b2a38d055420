"""Strassen's algorithm: every form of it against its reference, and against the convolution."""

import numpy as np
import pytest

import cnnc
from cnnc.backends.base import Backend
from cnnc.backends.native.targets import named_target
from cnnc.base.target import Target
from cnnc.ops.conv import Conv
from cnnc.ops.strassen import Strassen, combine_weights
from tests.backends.compilers import BACKENDS, NATIVE, runnable
from tests.backends.strassen_errors import error_ratio
from tests.backends.support import held_within
from tests.backends.test_operators import SPECIAL

# bias, rows, vectors at once, tile, parts; shape of x, with half of the channels in vectors
FORMS = [
    pytest.param((True, 2, 1, (1, 4), 1), (2, 2, 6, 9), 2, id="remainder-of-columns"),
    pytest.param((False, 4, 2, (1, 3), 1), (1, 1, 8, 6), 2, id="bands"),
    pytest.param((True, 6, 1, (2, 7), 1), (1, 1, 6, 14), 1, id="one-band"),
    pytest.param((True, 2, 1, (1, 5), 2), (2, 1, 4, 5), 4, id="parts"),
    pytest.param((False, 1, 3, (1, 1), 1), (1, 3, 1, 2), 3, id="three-vectors"),
    pytest.param((True, 2, 1, (1, 1), 1), (1, 1, 2, 1), 1, id="one-column"),
    pytest.param((True, 4, 2, (2, 7), 2), (1, 2, 4, 13), 4, id="parts-of-several"),
    pytest.param((True, 5, 1, (2, 2), 1), (1, 1, 5, 6), 2, id="remainder-of-rows"),
    pytest.param((True, 6, 1, (2, 4), 1), (1, 1, 6, 9), 1, id="remainders-of-pairs"),
    pytest.param((False, 3, 2, (2, 3), 2), (2, 1, 9, 10), 4, id="odd-bands"),
]
Form = tuple[bool, int, int, tuple[int, int], int]
STRIDED = [
    pytest.param((True, 2, 1, (1, 4), 1), (2, 2, 11, 17), 2, (2, 2), id="stride"),
    pytest.param(
        (True, 4, 2, (2, 3), 2), (1, 1, 16, 13), 4, (2, 2), id="stride-of-bands-and-parts"
    ),
    pytest.param((False, 2, 1, (1, 2), 1), (1, 1, 4, 14), 1, (1, 4), id="stride-along-rows"),
    pytest.param((False, 2, 1, (2, 5), 1), (1, 1, 12, 5), 1, (3, 1), id="stride-across-rows"),
    pytest.param((True, 3, 1, (2, 4), 1), (1, 2, 5, 15), 2, (2, 2), id="stride-of-odd-rows"),
]


def _target(name: str, backend: Backend) -> Target:
    target = runnable(backend, name)
    if target.vector_bits < 64:
        pytest.skip("halves of channels are whole vectors")
    return target


def _made(
    form: Form,
    shape: tuple[int, ...],
    blocks: int,
    target: Target,
    stride: tuple[int, int] = (1, 1),
) -> tuple[Strassen, list[np.ndarray]]:
    """The operator, its input, plain weights and bias."""
    bias, rows, vectors, tile, parts = form
    lanes = target.vector_bits // 32
    channels, depth = 2 * blocks * lanes, 2 * shape[1] * lanes
    op = Strassen(channels, bias, rows, vectors * lanes, tile, parts, stride)
    rng = np.random.default_rng(depth)
    made = [(shape[0], depth, *shape[2:]), (channels, depth, 1, 1), *[(channels,)] * bias]
    return op, [rng.standard_normal(each).astype(np.float32) for each in made]


def _combined(weight: np.ndarray) -> np.ndarray:
    return combine_weights(weight.astype(np.float64)).astype(np.float32)


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("form", "shape", "blocks"), FORMS)
def test_every_form_agrees_with_its_reference(
    form: Form, shape: tuple[int, ...], blocks: int, backend: Backend, name: str
) -> None:
    target = _target(name, backend)
    op, (x, weight, *bias) = _made(form, shape, blocks, target)
    held_within(op, [x, _combined(weight), *bias], backend, target)


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("form", "shape", "blocks", "stride"), STRIDED)
def test_strides_agree_with_the_reference(
    form: Form,
    shape: tuple[int, ...],
    blocks: int,
    stride: tuple[int, int],
    backend: Backend,
    name: str,
) -> None:
    target = _target(name, backend)
    op, (x, weight, *bias) = _made(form, shape, blocks, target, stride)
    held_within(op, [x, _combined(weight), *bias], backend, target)


@pytest.mark.parametrize(("form", "shape", "blocks"), FORMS)
def test_the_reference_is_the_convolution(form: Form, shape: tuple[int, ...], blocks: int) -> None:
    """In float64, with the weights as they are before they are rounded."""
    _compare(*_made(form, shape, blocks, named_target("x86-64-v4")))


@pytest.mark.parametrize(("form", "shape", "blocks", "stride"), STRIDED)
def test_strides_are_those_of_the_convolution(
    form: Form, shape: tuple[int, ...], blocks: int, stride: tuple[int, int]
) -> None:
    _compare(*_made(form, shape, blocks, named_target("x86-64-v4"), stride))


def _compare(op: Strassen, operands: list[np.ndarray]) -> None:
    """The operator with the convolution."""
    x, weight, *bias = (each.astype(np.float64) for each in operands)
    conv = Conv(op.channels, (1,), stride=op.stride, bias=op.bias)
    made = op.reference(x, combine_weights(weight), *bias)
    np.testing.assert_allclose(made, conv.reference(x, weight, *bias), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("backend", "name"), BACKENDS[:3])
@pytest.mark.parametrize("scale", [1.0, 1e-38, 3e17], ids=["normal", "subnormal", "huge"])
@pytest.mark.parametrize("special", [False, True], ids=["finite", "special"])
@pytest.mark.parametrize(
    ("shape", "stride"), [((1, 2, 6, 9), (1, 1)), ((1, 2, 4, 10), (1, 1)), ((1, 2, 11, 17), (2, 2))]
)
def test_extreme_values_stay_within_the_bound(
    shape: tuple[int, ...],
    stride: tuple[int, int],
    special: bool,
    scale: float,
    backend: Backend,
    name: str,
) -> None:
    """NaN and infinities spread over pairs of positions, as in the reference."""
    target = _target(name, backend)
    op, (x, weight, *bias) = _made((True, 2, 1, (1, 4), 1), shape, 2, target, stride)
    x *= np.float32(scale)
    if special:
        used = x[..., :: stride[0], :: stride[1]]
        places = np.random.default_rng(0).integers(used.size, size=12)
        values = np.resize(np.asarray(SPECIAL, np.float32), 12)
        used[np.unravel_index(places, used.shape)] = values
    out = held_within(op, [x, _combined(weight), *bias], backend, target)
    if special:
        assert np.isnan(out).any()
        assert np.isfinite(out).any()


def test_what_a_stride_skips_is_not_looked_at() -> None:
    target = _target("native", NATIVE)
    op, (x, weight, *bias) = _made((True, 2, 1, (1, 4), 1), (1, 2, 11, 17), 2, target, (2, 2))
    x[..., 1::2, :] = np.nan
    x[..., 1::2] = np.inf
    out = held_within(op, [x, _combined(weight), *bias], NATIVE, target)
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    ("stride", "rows", "columns"), [(1, 14, 28), (2, 56, 56), (1, 28, 27), (1, 15, 56)]
)
def test_threads_give_the_same_bits(stride: int, rows: int, columns: int) -> None:
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[1, 512, {rows}, {columns}]\n"
        f"  output y = x -> conv(512, 1, stride = {stride})\n  weights he(seed = 1)\n}}\n"
    )
    model = cnnc.load_text(text)
    x = np.random.default_rng(0).standard_normal((1, 512, rows, columns), np.float32)
    results = []
    for threads in (1, 2, 3, 5):
        net = model.compile(threads=threads)
        assert any("7 products" in layer.kernel.origin.algorithm for layer in net.lowered.layers)
        results.append(net(x)["y"].tobytes())
    assert len(set(results)) == 1


def test_sums_that_may_overflow_have_no_bound() -> None:
    op, (x, weight, *bias) = _made((True, 2, 1, (1, 4), 1), (1, 2, 6, 9), 2, named_target("native"))
    x[0, :, :2] = 3e38
    operands = [x, _combined(weight), *bias]
    with np.errstate(all="ignore"):
        wide = [each.astype(np.float64) for each in operands]
        bound = op.error(2.0**-24, op.reference(*wide), wide, [np.zeros(1)] * len(wide))
    assert np.isinf(bound[0, :, :2]).all()
    assert np.isfinite(bound[0, :, 2:]).all()


@pytest.mark.parametrize(("columns", "pair"), [(9, {(2, 4), (3, 4)}), (10, {(3, 4), (3, 9)})])
def test_what_is_not_finite_stays_in_its_pair(columns: int, pair: set[tuple[int, int]]) -> None:
    target = _target("native", NATIVE)
    op, (x, weight, *bias) = _made((True, 2, 1, (1, 4), 1), (1, 2, 6, columns), 2, target)
    x[0, 5, 3, 4] = np.nan
    out = held_within(op, [x, _combined(weight), *bias], NATIVE, target)
    wrong = np.isnan(out).any(axis=(0, 1))
    assert wrong[3, 4]
    assert {(int(row), int(column)) for row, column in np.argwhere(wrong)} <= pair


def test_cancellation_stays_within_the_bound() -> None:
    """Large inputs whose sums are small: the error is large against the result, not the bound."""
    target = _target("native", NATIVE)
    op, (half, weight) = _made((False, 2, 1, (1, 4), 1), (1, 1, 6, 9), 2, target)
    half *= 1e6
    x = np.concatenate([half, -half], axis=1)
    operands = [x, _combined(np.concatenate([weight, weight], axis=1))]
    out = held_within(op, operands, NATIVE, target)
    exact = op.reference(*(each.astype(np.float64) for each in operands))
    assert np.abs(exact).max() < 1e-6 * np.abs(x).max()
    assert np.abs(out).max() > 0


@pytest.mark.parametrize("channels", [64, 256])
def test_errors_are_a_small_multiple_of_the_convolutions(channels: int) -> None:
    """What docs/numerics.md says: root mean square against summing products one by one."""
    assert 1 < error_ratio(channels) < 3
