"""Every small window, one-dimensional, and many two-dimensional ones, against counting by hand."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm, Reduction
from cnnc.ops.spec import Operator
from cnnc.ops.unshared import Unshared
from tests.ops.by_hand import (
    Axis,
    conv_by_hand,
    every_axis,
    pool_by_hand,
    some_planes,
    transposed_by_hand,
)
from tests.ops.evaluate_loops import run_loops

KINDS: list[tuple[str, Reduction, bool]] = [
    ("max", Maximum(), False),
    ("avg", Average(), False),
    ("avg", Average(), True),
    ("l2", Norm(2.0), False),
]
SHAPES = [*((axis,) for axis in every_axis()), *some_planes(300)]
CONVOLUTIONS = [axes for axes in SHAPES if not axes[0].ceil]


def attributes(axes: Sequence[Axis]) -> dict[str, object]:
    """The window as attributes of an operator."""
    return {
        "stride": tuple(axis.stride for axis in axes),
        "pad": Padding(explicit=tuple(axis.ends for axis in axes)),
        "dilation": tuple(axis.dilation for axis in axes),
    }


def kernel(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Extents of the window."""
    return tuple(axis.kernel for axis in axes)


def refusal(op: Operator, x: TensorType) -> str:
    """Why the operator refuses its operand; empty if it does not."""
    try:
        op.infer(x, *(spec.type for spec in op.parameters(x)))
    except OpError as error:
        return error.why
    return ""


NO_FIT, BLIND = "the window does not fit its input", "a window holds nothing but padding"


@pytest.mark.parametrize(("name", "kind", "count_pad"), KINDS)
def test_pooling(name: str, kind: Reduction, count_pad: bool) -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for axes in SHAPES:
        x = rng.normal(size=(1, 2, *(axis.extent for axis in axes)))
        op = Pool(kind, kernel(axes), ceil=axes[0].ceil, count_pad=count_pad, **attributes(axes))
        error = refusal(op, TensorType.plain(x.shape))
        if not all(axis.starts for axis in axes):
            assert error == NO_FIT
        elif any(axis.sees_padding_only for axis in axes):
            assert error == BLIND
        else:
            assert error == "", op.label
            expected = [pool_by_hand(plane, axes, name, count_pad) for plane in x[0]]
            np.testing.assert_allclose(op.reference(x)[0], expected, 1e-12, 1e-14, err_msg=op.label)
            compared += 1
    assert compared > 1400


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(groups: int) -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for axes in CONVOLUTIONS:
        x = rng.normal(size=(1, 4, *(axis.extent for axis in axes)))
        op = Conv(2, kernel(axes), groups=groups, bias=False, **attributes(axes))
        error = refusal(op, TensorType.plain(x.shape))
        if not all(axis.starts for axis in axes):
            assert error == NO_FIT
            continue
        w = rng.normal(size=(2, 4 // groups, *kernel(axes)))
        whole = in_groups(w, groups)
        expected = conv_by_hand(x[0], axes, lambda tap, _, w=whole: w[(..., *tap)])
        np.testing.assert_allclose(op.reference(x, w)[0], expected, rtol=1e-12, atol=1e-14)
        compared += 1
    assert compared > 900


def in_groups(w: np.ndarray, groups: int) -> np.ndarray:
    """Weights [A, B / groups, …] as weights [A, B, …] with zeros between the groups."""
    outputs, inputs = w.shape[0] // groups, w.shape[1]
    whole = np.zeros((w.shape[0], inputs * groups, *w.shape[2:]))
    for g in range(groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        whole[rows, g * inputs : (g + 1) * inputs] = w[rows]
    return whole


def test_unshared() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for axes in CONVOLUTIONS[::3]:
        x = rng.normal(size=(1, 2, *(axis.extent for axis in axes)))
        op = Unshared(3, kernel(axes), **attributes(axes))
        if not all(axis.starts for axis in axes):
            assert refusal(op, TensorType.plain(x.shape)) == NO_FIT
            continue
        outs = [len(axis.starts) for axis in axes]
        w, bias = rng.normal(size=(3, 2, *outs, *kernel(axes))), rng.normal(size=(3, *outs))
        expected = conv_by_hand(x[0], axes, lambda tap, at, w=w: w[(..., *at, *tap)])
        y = op.reference(x, w, bias)[0]
        np.testing.assert_allclose(y, expected + bias, rtol=1e-12, atol=1e-14)
        compared += 1
    assert compared > 300


def test_unshared_with_the_same_weights_everywhere_is_a_convolution() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 5, 6))
    for groups, stride in ((1, 1), (2, 2), (4, 1)):
        conv = Conv(4, (3, 2), (stride,), Padding("same"), groups=groups, bias=False)
        w = rng.normal(size=(4, 4 // groups, 3, 2))
        y = conv.reference(x, w)
        own = np.broadcast_to(w[:, :, None, None], (*w.shape[:2], *y.shape[2:], 3, 2))
        op = Unshared(4, (3, 2), (stride,), Padding("same"), groups=groups, bias=False)
        np.testing.assert_allclose(op.reference(x, own), y, rtol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(groups: int) -> None:
    """Every output padding that PyTorch allows too; its loops of some."""
    rng = np.random.default_rng(0)
    compared = 0
    for number, axes in enumerate(CONVOLUTIONS[:: 2 * groups - 1]):
        allowed = [range(max(axis.stride, axis.dilation)) for axis in axes]
        x = rng.normal(size=(1, 2, *(axis.extent for axis in axes)))
        w = rng.normal(size=(2, 4 // groups, *kernel(axes)))
        whole = in_groups(w, groups)
        for extra in list(product(*allowed))[:: 3 * len(axes) - 2]:
            window = attributes(axes)
            op = ConvTranspose(
                4, kernel(axes), output_pad=extra, groups=groups, bias=False, **window
            )
            expected = transposed_by_hand(x[0], axes, extra, lambda tap, w=whole: w[(..., *tap)])
            error = refusal(op, TensorType.plain(x.shape))
            if expected is None:
                assert error == "the padding crops the whole result"
                continue
            assert error == "", op.label
            np.testing.assert_allclose(op.reference(x, w)[0], expected, rtol=1e-12, atol=1e-14)
            if number % 10 == 0:
                np.testing.assert_allclose(run_loops(op, [x, w])[0], expected, atol=1e-12)
            compared += 1
    assert compared > (2000 if groups == 1 else 700)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("rule", ["same", "same_lower", "causal"])
def test_transposed_rules_give_extent_times_stride(dilation: int, rule: str) -> None:
    for extent, k, stride in product(range(1, 7), range(1, 7), range(1, 5)):
        op = ConvTranspose(1, (k,), (stride,), Padding(rule), dilation=(dilation,), bias=False)
        window = op.window(TensorType.plain((1, 1, extent)))
        (before, after), span = window.crop[0], (k - 1) * dilation + 1
        assert window.out == (extent * stride,)
        assert before + after == max(0, span - stride)
        if rule == "causal":
            assert before == 0  # nothing lies before the element that it comes from
        else:
            assert (after - before if rule == "same" else before - after) in (0, 1)
        y = op.reference(np.ones((1, 1, extent)), np.ones((1, 1, k)))
        assert y.shape == (1, 1, extent * stride)
