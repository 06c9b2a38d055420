"""Pooling: weights by distance against SciPy, attributes that do not fit, special values."""

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage, signal

from cnnc.base.dtype import DType
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Symbol, Value
from cnnc.ops.pool import Pool
from tests.ops.cases import Real
from tests.ops.evaluate_loops import run_loops

BELL, LINEAR, INVERSE = Symbol("gaussian", (0.8,)), Symbol("linear"), Symbol("inverse")
WEIGHTED = Symbol("weighted")
IMAGE = TensorType.plain((1, 2, 8, 9))


def pool(*given: Value, **named: Value) -> Pool:
    """A pool from language values."""
    names = [attribute.name for attribute in Pool.attributes()]
    op = Pool.make({**dict(zip(names, given, strict=False)), **named})
    assert isinstance(op, Pool)
    return op


def pooled(op: Pool, x: Real) -> Real:
    """The reference with the operator's own tables, in float64."""
    specs = op.parameters(TensorType.plain(x.shape, DType.F64))
    return op.reference(x, *(spec.value for spec in specs))


def distances(size: int) -> Real:
    """From the centre of a square window, one tap at a time."""
    middle = (size - 1) / 2
    return np.array([[np.hypot(i - middle, j - middle) for j in range(size)] for i in range(size)])


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("name", ["gaussian", "linear", "inverse"])
def test_weights_fall_with_the_distance(name: str, size: int) -> None:
    r = distances(size)
    falloff, weights = {
        "gaussian": (BELL, np.exp(-(r**2) / (2 * 0.8**2))),
        "linear": (LINEAR, 1 - r / (r[0, 0] + 1)),
        "inverse": (INVERSE, 1 / (1 + r)),
    }[name]
    x = np.random.default_rng(2).normal(size=(1, 1, 9, 11))
    half = size // 2
    zeros = ndimage.correlate(x[0, 0], weights, mode="constant")
    ones = ndimage.correlate(np.ones((9, 11)), weights, mode="constant")
    same = pooled(pool(WEIGHTED, size, 1, Symbol("same"), falloff=falloff), x)
    np.testing.assert_allclose(same[0, 0], zeros / ones, rtol=1e-10)
    counted = pool(WEIGHTED, size, 1, Symbol("same"), count_pad=True, falloff=falloff)
    np.testing.assert_allclose(pooled(counted, x)[0, 0], zeros / weights.sum(), rtol=1e-10)
    valid = pooled(pool(WEIGHTED, size, 2, falloff=falloff), x)
    inner = (zeros / weights.sum())[half:-half:2, half:-half:2]
    np.testing.assert_allclose(valid[0, 0], inner, rtol=1e-10)


def test_gaussian_is_the_filter_of_scipy() -> None:
    x = np.random.default_rng(2).normal(size=(1, 1, 12, 10))
    expected = ndimage.gaussian_filter(x[0, 0], 0.8, mode="constant", radius=2)
    y = pooled(pool(WEIGHTED, 5, 1, 2, count_pad=True, falloff=BELL), x)
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-10)


def test_dilation_counts_in_the_distance() -> None:
    x = np.random.default_rng(2).normal(size=(1, 1, 9))
    weights = np.exp(-(np.array([-2.0, 0, 2.0]) ** 2) / (2 * 0.8**2))
    y = pooled(pool(WEIGHTED, 3, 1, dilation=2, falloff=BELL), x)
    expected = x[0, 0, :-4] * weights[0] + x[0, 0, 2:-2] * weights[1] + x[0, 0, 4:] * weights[2]
    np.testing.assert_allclose(y[0, 0], expected / weights.sum(), rtol=1e-10)


def test_explicit_weights_for_all_axes_or_the_whole_window() -> None:
    x = np.random.default_rng(2).normal(size=(1, 1, 6, 7))
    outer = pooled(pool(WEIGHTED, 3, 1, weights=(1, 2, 1)), x)
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    np.testing.assert_allclose(outer[0, 0], signal.correlate2d(x[0, 0], kernel, "valid"))
    whole = pooled(pool(WEIGHTED, (1, 3), 1, weights=((1, 0, 3),)), x)
    kernel = np.array([[1, 0, 3]]) / 4
    np.testing.assert_allclose(whole[0, 0], signal.correlate2d(x[0, 0], kernel, "valid"))


def test_a_tiny_sigma_leaves_the_nearest_taps() -> None:
    x = np.arange(6.0).reshape(1, 1, 6)
    y = pooled(pool(WEIGHTED, 4, 1, falloff=Symbol("gaussian", (1e-9,))), x)
    np.testing.assert_allclose(y[0, 0], [1.5, 2.5, 3.5])


@pytest.mark.parametrize("kind", ["max", "avg", "l2"])
def test_global_is_the_whole_input(kind: str) -> None:
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 5))
    y = pooled(pool(Symbol(kind), Symbol("global")), x)
    axes = (2, 3)
    expected = {
        "max": x.max(axes),
        "avg": x.mean(axes),
        "l2": np.sqrt((x**2).sum(axes)),
    }[kind]
    assert y.shape == (2, 3, 1, 1)
    np.testing.assert_allclose(y[..., 0, 0], expected)


def test_the_step_is_the_size_unless_given() -> None:
    assert pool(Symbol("max"), 2).infer(IMAGE).shape == (1, 2, 4, 4)
    assert pool(Symbol("max"), (2, 3)).infer(IMAGE).shape == (1, 2, 4, 3)
    assert pool(Symbol("max"), 2, 1).infer(IMAGE).shape == (1, 2, 7, 8)
    assert pool(Symbol("max"), 2, Symbol("size")) == pool(Symbol("max"), 2)


@pytest.mark.parametrize(
    ("text", "op"),
    [
        ("pool(kind=max, size=2)", pool(Symbol("max"), 2)),
        ("pool(kind=avg, size=global)", pool(Symbol("avg"), Symbol("global"))),
        ("pool(kind=l2, size=2)", pool(Symbol("lp", (2,)), 2)),
        ("pool(kind=lp(3.0), size=2)", pool(Symbol("lp", (3,)), 2)),
        (
            "pool(kind=weighted, size=3, stride=2, falloff=gaussian(0.8))",
            pool(WEIGHTED, 3, 2, falloff=BELL),
        ),
    ],
)
def test_labels(text: str, op: Pool) -> None:
    assert op.label == text


@pytest.mark.parametrize(
    ("at", "given", "named"),
    [
        ("kind", (Symbol("lp", (0.5,)), 2), {}),
        ("kind", (Symbol("lp"), 2), {}),
        ("kind", (Symbol("median"), 2), {}),
        ("kind", ("max", 2), {}),
        ("size", (Symbol("max"), 0), {}),
        ("size", (Symbol("max"), Symbol("full")), {}),
        ("stride", (Symbol("max"), 2, 0), {}),
        ("falloff", (WEIGHTED, 3), {"falloff": Symbol("gaussian")}),
        ("falloff", (WEIGHTED, 3), {"falloff": Symbol("gaussian", (0,))}),
        ("falloff", (WEIGHTED, 3), {"falloff": Symbol("linear", (1,))}),
        ("weights", (WEIGHTED, 3), {"weights": (1, -2, 1)}),
        ("weights", (WEIGHTED, 3), {"weights": (0, 0, 0)}),
        ("weights", (WEIGHTED, 3), {"weights": ((1, 2), (3,))}),
        ("weights", (WEIGHTED, 3), {"weights": ((1, 2), 3)}),
        ("weights", (WEIGHTED, 3), {"weights": ((), ())}),
        ("weights", (WEIGHTED, 3), {"weights": 3}),
    ],
)
def test_values_that_do_not_fit(at: str, given: tuple[Value, ...], named: dict[str, Value]) -> None:
    with pytest.raises(OpError, match="expected") as caught:
        pool(*given, **named)
    assert caught.value.at == at


@pytest.mark.parametrize(
    ("at", "op"),
    [
        ("kind", pool(WEIGHTED, 3)),
        ("weights", pool(WEIGHTED, 3, falloff=BELL, weights=(1, 2, 1))),
        ("weights", pool(WEIGHTED, 3, weights=(1, 2))),
        ("weights", pool(WEIGHTED, (2, 3), weights=(1, 2, 1))),
        ("weights", pool(Symbol("avg"), 3, weights=(1, 2, 1))),
        ("falloff", pool(Symbol("max"), 3, falloff=LINEAR)),
        ("count_pad", pool(Symbol("max"), 3, count_pad=True)),
        ("count_pad", pool(Symbol("l2"), 3, count_pad=True)),
        ("stride", pool(Symbol("max"), Symbol("global"), 2)),
        ("pad", pool(Symbol("max"), Symbol("global"), pad=1)),
        ("dilation", pool(Symbol("max"), Symbol("global"), dilation=2)),
        ("size", pool(Symbol("max"), (2, 2, 2))),
        ("pad", pool(WEIGHTED, 3, 1, ((1, 0), (0, 0)), weights=((0, 0, 0), (0, 0, 0), (1, 1, 1)))),
    ],
)
def test_attributes_that_do_not_fit_their_input(at: str, op: Pool) -> None:
    if at == "pad" and op.weights:  # the first window holds the taps of weight 1: nothing wrong
        assert len(op.parameters(IMAGE)) == 1
        op = pool(WEIGHTED, 3, 1, ((0, 1), (0, 0)), weights=op.weights)
    with pytest.raises(OpError) as caught:
        op.parameters(IMAGE)
    assert caught.value.at == at


def test_hostile_sizes_take_no_memory() -> None:
    wide = TensorType.plain((1, 1, 2**31 - 1, 2**31 - 1))
    assert pool(Symbol("max"), 2).infer(wide).shape == (1, 1, 2**30 - 1, 2**30 - 1)
    with pytest.raises(OpError, match="too large to be weighted") as caught:
        pool(WEIGHTED, 10**4, pad=10**4 - 1, falloff=LINEAR).parameters(IMAGE)
    assert caught.value.at == "size"
    for kind in ("max", "avg"):
        with pytest.raises(OpError, match="padded operand is too large") as caught:
            pool(Symbol(kind), 10**6, pad=Symbol("same")).parameters(IMAGE)
        assert caught.value.at == "pad"


def test_a_large_window_needs_no_memory_for_all_its_taps() -> None:
    x = np.ones((1, 1, 300, 300))
    op = pool(Symbol("avg"), 100, 1)
    tracemalloc.start()
    op.reference(x)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * x.nbytes  # 10 000 taps


def test_pooling_needs_floating_point() -> None:
    with pytest.raises(OpError, match="floating point"):
        pool(Symbol("max"), 2).infer(TensorType.plain((1, 1, 4), DType.I32))


@pytest.mark.parametrize("kind", ["max", "avg", "l2"])
def test_a_nan_spoils_the_windows_that_hold_it_and_no_other(kind: str) -> None:
    x = np.arange(1.0, 9.0).reshape(1, 1, 8)
    x[0, 0, 3] = np.nan
    op = pool(Symbol(kind), 3, 1, 1)
    spoiled = np.isnan([np.nan if 2 <= i <= 4 else 0 for i in range(8)])
    assert np.array_equal(np.isnan(op.reference(x)[0, 0]), spoiled)
    assert np.array_equal(np.isnan(run_loops(op, [x])[0, 0]), spoiled)


@pytest.mark.parametrize(("count_pad", "divisors"), [(False, [2, 3, 1]), (True, [3, 3, 2])])
def test_divisors_under_ceil_are_those_of_the_documentation(
    count_pad: bool, divisors: list[int]
) -> None:
    op = pool(Symbol("avg"), 3, 2, 1, ceil=True, count_pad=count_pad)
    x = np.array([[[1.0, 2.0, 4.0, 8.0]]])
    expected = np.array([3.0, 14.0, 8.0]) / divisors
    np.testing.assert_allclose(op.reference(x)[0, 0], expected)
    np.testing.assert_allclose(run_loops(op, [x])[0, 0], expected)


@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_never_wins_a_maximum(dilation: int) -> None:
    x = np.full((1, 1, 5, 5), -5.0)
    x[0, 0, 2, 2] = -np.inf
    op = pool(Symbol("max"), 3, 2, 1, dilation=dilation)
    assert np.all(run_loops(op, [x]) == -5)
    assert np.all(op.reference(np.full((1, 1, 3, 3), -np.inf)) == -np.inf)


def test_a_norm_of_tiny_values_stays_within_its_bound() -> None:
    """Squares of 1e-25 underflow in float32: the norm is lost, and the bound says so."""
    x = np.full((1, 1, 4), 1e-25).astype(np.float32).astype(np.float64)
    op = pool(Symbol("l2"), 2)
    exact = op.reference(x)
    value = run_loops(op, [x.astype(np.float32)])
    bound = op.error(2.0**-24, exact, [x], [np.zeros_like(x)])
    assert np.all(value == 0)
    assert np.all(np.abs(value - exact) <= bound)
