"""Winograd's algorithm: every form of it against its reference, and against the convolution."""

from math import prod

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.native.targets import named_target
from cnnc.base.target import Target
from cnnc.loop.expr import Select
from cnnc.loop.kernel import expressions
from cnnc.loop.rewrite import parts
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.cook_toom import PAIRS, cook_toom, transform_weights
from cnnc.ops.winograd import Winograd
from cnnc.ops.winograd_tiles import side_of
from tests.backends.compilers import BACKENDS, NATIVE, runnable
from tests.backends.support import assert_within, held_within, lowered, run, single
from tests.backends.test_operators import SPECIAL
from tests.backends.winograd_errors import error_ratio

BOTH = ((1, 1), (1, 1))
# points of a tile, pads, bias, rows, vectors at once, columns, parts; shape of x, channels
FORMS = [
    pytest.param((6, BOTH, True, 1, 1, 3, 1), (2, 16, 9, 8), 32, id="last-row-of-one"),
    pytest.param((6, BOTH, False, 2, 2, 4, 1), (1, 20, 12, 16), 32, id="whole-tiles"),
    pytest.param((6, ((0, 0), (2, 1)), True, 2, 1, 2, 2), (1, 17, 11, 7), 32, id="parts"),
    pytest.param((4, BOTH, True, 3, 1, 5, 1), (1, 16, 7, 7), 19, id="two-results"),
    pytest.param((8, BOTH, True, 1, 1, 2, 1), (1, 16, 8, 13), 16, id="six-results"),
    pytest.param((8, BOTH, True, 2, 2, 4, 2), (2, 16, 16, 15), 64, id="four-and-three-of-six"),
    pytest.param((6, ((1, 1),), True, 2, 1, 2, 1), (2, 18, 21), 16, id="series"),
    pytest.param((8, ((2, 0),), False, 3, 2, 3, 1), (1, 16, 40), 32, id="causal-series"),
    pytest.param((6, BOTH, True, 1, 1, 1, 1), (1, 16, 1, 1), 16, id="one-position"),
    pytest.param((6, BOTH, True, 2, 1, 4, 1), (1, 9, 8, 8), 32, id="nine-channels"),
    pytest.param((6, BOTH, False, 1, 2, 2, 1), (1, 12, 8, 9), 32, id="twelve-channels"),
    pytest.param((6, BOTH, True, 2, 1, 3, 1), (1, 5, 8, 8), 16, id="five-channels"),
    pytest.param((4, BOTH, True, 2, 1, 4, 1), (1, 3, 6, 8), 16, id="three-channels"),
]
NONE, TWELVE = ((0, 0),) * 2, ((12, 12),) * 2
ACROSS, DOWN = ((0, 0), (1, 1)), ((1, 1), (0, 0))
# the same, and taps, stride and dilation on each axis
WINDOWS = [
    ("five", (6, NONE, True, 1, 1, 3, 1), (1, 16, 9, 12), 16, ((5, 5), (1, 1), (1, 1))),
    ("two-four", (6, BOTH, False, 2, 1, 2, 1), (2, 16, 9, 7), 16, ((2, 4), (1, 1), (1, 1))),
    ("row", (6, ACROSS, True, 3, 2, 5, 1), (1, 17, 7, 9), 32, ((1, 3), (1, 1), (1, 1))),
    ("column", (4, DOWN, True, 2, 1, 7, 2), (1, 16, 9, 7), 32, ((3, 1), (1, 1), (1, 1))),
    ("atrous", (6, TWELVE, True, 4, 1, 6, 1), (1, 16, 17, 19), 16, ((3, 3), (1, 1), (12, 12))),
    ("apart", (6, BOTH, True, 3, 1, 4, 1), (2, 20, 19, 29), 32, ((3, 3), (1, 1), (2, 3))),
    ("rows-apart", (4, BOTH, False, 5, 1, 4, 2), (1, 16, 14, 5), 32, ((3, 3), (1, 1), (2, 1))),
    ("dilated", (6, ((8, 0),), True, 5, 1, 5, 1), (2, 16, 61), 16, ((3,), (1,), (4,))),
    ("too-long", (6, ((8, 0),), True, 4, 1, 4, 1), (1, 16, 5), 16, ((2,), (1,), (8,))),
    ("two-taps-of-six", (6, ((1, 0),), True, 2, 1, 4, 1), (1, 16, 36), 16, ((2,), (1,), (1,))),
    ("two-taps", (4, ((1, 0),), True, 7, 2, 4, 1), (1, 33, 40), 32, ((2,), (1,), (1,))),
    ("eight", (8, ((16, 0),), True, 8, 1, 8, 1), (1, 16, 64), 16, ((5,), (1,), (4,))),
    ("halved", (6, BOTH, True, 2, 1, 3, 1), (1, 16, 15, 18), 32, ((3, 3), (2, 2), (1, 1))),
    ("halved-five", (6, NONE, True, 1, 2, 2, 2), (2, 32, 17, 12), 64, ((5, 4), (2, 2), (1, 1))),
    ("rows-halved", (4, BOTH, False, 3, 1, 3, 1), (1, 16, 15, 9), 16, ((3, 3), (2, 1), (1, 1))),
    ("one-tap", (4, ACROSS, True, 3, 1, 3, 1), (1, 16, 9, 11), 16, ((1, 4), (2, 2), (1, 1))),
    ("thirds", (6, ((2, 2),), True, 5, 1, 5, 1), (2, 16, 50), 16, ((7,), (3,), (1,))),
    ("seven", (6, BOTH, True, 2, 1, 4, 1), (1, 16, 13, 14), 16, ((7, 6), (1, 1), (1, 1))),
    ("seven-dilated", (6, ((18, 0),), True, 3, 2, 3, 1), (2, 32, 50), 32, ((7,), (1,), (3,))),
    ("eleven", (6, ((5, 5),), False, 4, 1, 4, 2), (1, 16, 33), 32, ((11,), (1,), (1,))),
    ("both", (4, BOTH, True, 3, 1, 3, 1), (1, 16, 16, 9), 16, ((3, 3), (2, 1), (1, 2))),
]
PLAIN: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((3,), (1,), (1,)),
    2: ((3, 3), (1, 1), (1, 1)),
}
"""Taps, stride and dilation of most forms, by their number of axes."""
ALL = [pytest.param(*each.values, None, id=str(each.id)) for each in FORMS]
ALL += [pytest.param(*values, id=name) for name, *values in WINDOWS]
SIZES = [(points, taps) for points in sorted(PAIRS) for taps in range(2, 6) if points > taps]
Window = tuple[tuple[int, ...], ...] | None
Form = tuple[int, tuple[tuple[int, int], ...], bool, int, int, int, int]


def _op(form: Form, channels: int, target: Target, window: Window = None) -> Winograd:
    points, pads, bias, rows, vectors, columns, parts = form
    at_once = vectors * target.vector_bits // 32
    each = zip(*(window or PLAIN[len(pads)]), strict=True)
    sides = [side for numbers in each if (side := side_of(*numbers, points))]
    return Winograd(channels, tuple(sides), pads, bias, rows, at_once, columns, parts)


def _operands(
    form: Form, shape: tuple[int, ...], channels: int, window: Window = None
) -> list[np.ndarray]:
    """Input, plain weights and bias."""
    rng = np.random.default_rng(prod(shape))
    kernel = window[0] if window else (3,) * (len(shape) - 2)
    made = [shape, (channels, shape[1], *kernel), *[(channels,)] * form[2]]
    return [rng.standard_normal(each).astype(np.float32) for each in made]


def _transformed(weight: np.ndarray, op: Winograd) -> np.ndarray:
    return transform_weights(weight.astype(np.float64), op.tile, op.phases).astype(np.float32)


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("form", "shape", "channels", "window"), ALL)
def test_every_form_agrees_with_its_reference(
    form: Form,
    shape: tuple[int, ...],
    channels: int,
    window: Window,
    backend: Backend,
    name: str,
) -> None:
    target = runnable(backend, name)
    op = _op(form, channels, target, window)
    x, weight, *bias = _operands(form, shape, channels, window)
    operands = [x, _transformed(weight, op), *bias]
    out = run(single(op, [x], operands[1:]), [x], backend, target)[0]
    assert_within(op, out, op.reference(*(each.astype(np.float64) for each in operands)), operands)


@pytest.mark.parametrize(("form", "shape", "channels", "window"), ALL)
def test_the_reference_is_the_convolution(
    form: Form, shape: tuple[int, ...], channels: int, window: Window
) -> None:
    """In float64, with the weights as they are before they are rounded."""
    op = _op(form, channels, named_target("x86-64-v4"), window)
    x, weight, *bias = (
        each.astype(np.float64) for each in _operands(form, shape, channels, window)
    )
    pad = Padding("explicit", form[1])
    kernel, stride, dilation = window or PLAIN[len(form[1])]
    conv = Conv(channels, kernel, stride, dilation=dilation, pad=pad, bias=op.bias)
    made = op.reference(x, transform_weights(weight, op.tile, op.phases), *bias)
    np.testing.assert_allclose(made, conv.reference(x, weight, *bias), rtol=0, atol=1e-11)


@pytest.mark.parametrize("points", [6, 8])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("extent", [13, 14, 21, 29])
def test_tiles_read_inside_the_halo(extent: int, dilation: int, points: int) -> None:
    """Wherever they end: nothing asks whether a position is inside."""
    target = named_target("x86-64-v4")
    window = ((3, 3), (1, 1), (dilation, dilation))
    form: Form = (points, ((dilation, dilation),) * 2, False, 2, 1, 4, 1)
    op = _op(form, 16, target, window)
    x, weight = _operands(form, (1, 16, extent, extent), 16, window)
    layers = lowered(single(op, [x], [_transformed(weight, op)]), target).layers
    (kernel,) = [each.kernel for each in layers if each.kernel.origin.op == op.label]
    found = [part for expr in expressions(kernel.body) for part in parts(expr)]
    assert not any(isinstance(part, Select) for part in found)


@pytest.mark.parametrize(("backend", "name"), BACKENDS[:3])
@pytest.mark.parametrize("scale", [1.0, 1e-38, 3e17], ids=["normal", "subnormal", "huge"])
@pytest.mark.parametrize("special", [False, True], ids=["finite", "special"])
def test_extreme_values_stay_within_the_bound(
    special: bool, scale: float, backend: Backend, name: str
) -> None:
    """NaN and infinities spread over the tiles that read them, as in the reference."""
    form: Form = (6, BOTH, True, 2, 1, 3, 1)
    target = runnable(backend, name)
    op, operands = _extreme(form, (1, 16, 10, 9), 16, None, target, special=special, scale=scale)
    out = held_within(op, operands, backend, target)
    if special:
        assert np.isnan(out).any()
        assert np.isfinite(out).any()


@pytest.mark.parametrize(("special", "scale"), [(True, 1.0), (False, 1e-38), (True, 3e17)])
@pytest.mark.parametrize(("form", "shape", "channels", "window"), ALL)
def test_extreme_values_of_every_form(
    form: Form,
    shape: tuple[int, ...],
    channels: int,
    window: Window,
    special: bool,
    scale: float,
) -> None:
    """The same in machine code."""
    target = runnable(NATIVE, "native")
    values = _extreme(form, shape, channels, window, target, special=special, scale=scale)
    held_within(*values, NATIVE, target)


def _extreme(
    form: Form,
    shape: tuple[int, ...],
    channels: int,
    window: Window,
    target: Target,
    *,
    special: bool,
    scale: float,
) -> tuple[Winograd, list[np.ndarray]]:
    """An operator and operands of that size, if they are special with NaN, infinities and more."""
    op = _op(form, channels, target, window)
    x, weight, *bias = _operands(form, shape, channels, window)
    x *= np.float32(scale)
    if special:
        places = np.random.default_rng(0).integers(x.size, size=12)
        x.reshape(-1)[places] = np.resize(np.asarray(SPECIAL, np.float32), 12)
    return op, [x, _transformed(weight, op), *bias]


def test_cancellation_stays_within_the_bound() -> None:
    """Large inputs whose sums are small: the error is large against the result, not the bound."""
    target = runnable(NATIVE, "native")
    op = _op((6, BOTH, False, 1, 1, 4, 1), 16, target)
    rng = np.random.default_rng(7)
    half = rng.standard_normal((1, 16, 16, 16)).astype(np.float32) * 1e6
    x = np.concatenate([half, -half], axis=1)
    weight = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    doubled = np.concatenate([weight, weight], axis=1)
    operands = [x, _transformed(doubled, op)]
    out = run(single(op, [x], operands[1:]), [x], NATIVE, target)[0]
    exact = op.reference(*(each.astype(np.float64) for each in operands))
    assert np.abs(exact).max() < 1e-6 * np.abs(x).max()
    assert np.abs(out).max() > 0
    assert_within(op, out, exact, operands)


@pytest.mark.parametrize(
    ("points", "taps", "worst"),
    [
        *[(4, 2, 1.5), (4, 3, 1.0), (6, 2, 4.5), (6, 3, 2.5), (6, 5, 2.0)],
        *[(8, 2, 18.0), (8, 3, 10.0), (8, 5, 7.0)],
    ],
)
def test_errors_are_a_small_multiple_of_the_convolutions(
    points: int, taps: int, worst: float
) -> None:
    """What docs/numerics.md says: root mean square against summing products one by one."""
    assert 0 < error_ratio(points, taps, 64) < worst


@pytest.mark.parametrize(
    ("points", "results", "worst"),
    [(6, 1, 1.2), (6, 2, 1.5), (8, 1, 1.2), (8, 2, 2.0), (8, 3, 3.0), (8, 4, 3.0)],
)
def test_tiles_with_fewer_results_round_less(points: int, results: int, worst: float) -> None:
    """Of three taps: they take the points that round least."""
    assert 0 < error_ratio(points, 3, 64, results) < worst


@pytest.mark.parametrize(
    ("points", "taps", "used"),
    [
        (points, taps, used)
        for points, taps in SIZES
        for used in range(2, points + 1, 2)
        if used >= taps
    ],
)
def test_the_transforms_are_exact_in_float32(points: int, taps: int, used: int) -> None:
    """Only weights are rounded when they are transformed; tiles at an edge use some of them."""
    made, whole = cook_toom(points, taps, used), cook_toom(points, taps)
    for matrix in (made.input, made.output):
        assert np.array_equal(matrix, matrix.astype(np.float32))
    np.testing.assert_allclose(made.weight, whole.weight[:used], rtol=1e-14)
    # y = A^T ((G g) * (B^T d)) for all d and g: the products' coefficients, one by one
    for tap in range(taps):
        for position in range(used):
            y = made.output @ (made.weight[:, tap] * made.input[:, position])
            wanted = [1.0 if step + tap == position else 0.0 for step in range(used - taps + 1)]
            np.testing.assert_allclose(y, wanted, atol=1e-12)
