"""Every small window against PyTorch, whose padding is the same at both ends."""

from itertools import product

import numpy as np
import pytest

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum
from cnnc.ops.spec import Operator
from tests.ops.by_hand import Axis, every_axis, some_planes

torch = pytest.importorskip("torch")
functional = torch.nn.functional
pytestmark = pytest.mark.torch

SHAPES = [
    axes
    for axes in (*((axis,) for axis in every_axis()), *some_planes(600, seed=2))
    if all(axis.ends[0] == axis.ends[1] for axis in axes)
]
Window = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def window(axes: tuple[Axis, ...]) -> Window:
    """Kernel, stride, padding, dilation."""
    fields = [(axis.kernel, axis.stride, axis.ends[0], axis.dilation) for axis in axes]
    kernel, stride, pad, dilation = zip(*fields, strict=True)
    return kernel, stride, pad, dilation


def accepts(op: Operator, x: np.ndarray) -> bool:
    """Whether cnnc computes this; test_windows_by_hand says when."""
    kind = TensorType.plain(x.shape)
    try:
        op.infer(kind, *(spec.type for spec in op.parameters(kind)))
    except OpError:
        return False
    return True


def drawn(axes: tuple[Axis, ...], rng: np.random.Generator) -> np.ndarray:
    """An input with two channels."""
    return rng.normal(size=(1, 2, *(axis.extent for axis in axes)))


@pytest.mark.parametrize("count_pad", [False, True])
def test_average_pooling(count_pad: bool) -> None:
    rng, compared = np.random.default_rng(0), 0
    run = {1: functional.avg_pool1d, 2: functional.avg_pool2d}
    for axes in SHAPES:
        kernel, stride, pad, dilation = window(axes)
        x, pads = drawn(axes, rng), Padding(explicit=tuple((p, p) for p in pad))
        op = Pool(Average(), kernel, stride, pads, dilation, axes[0].ceil, count_pad)
        wide = any(p > k // 2 for p, k in zip(pad, kernel, strict=True))
        if max(dilation) > 1 or wide or not accepts(op, x):
            continue  # PyTorch knows no dilation here, and half a kernel of padding at most
        y = run[len(axes)](torch.from_numpy(x), kernel, stride, pad, axes[0].ceil, count_pad)
        np.testing.assert_allclose(op.reference(x), y.numpy(), rtol=1e-12, atol=1e-14)
        compared += 1
    assert compared > 200


def test_max_pooling() -> None:
    rng, compared = np.random.default_rng(1), 0
    run = {1: functional.max_pool1d, 2: functional.max_pool2d}
    for axes in SHAPES:
        kernel, stride, pad, dilation = window(axes)
        x, pads = drawn(axes, rng), Padding(explicit=tuple((p, p) for p in pad))
        op = Pool(Maximum(), kernel, stride, pads, dilation, axes[0].ceil)
        if any(p > k // 2 for p, k in zip(pad, kernel, strict=True)) or not accepts(op, x):
            continue
        y = run[len(axes)](torch.from_numpy(x), kernel, stride, pad, dilation, axes[0].ceil)
        assert np.array_equal(op.reference(x), y.numpy()), op.label
        compared += 1
    assert compared > 400


def test_convolution() -> None:
    rng, compared = np.random.default_rng(2), 0
    run = {1: functional.conv1d, 2: functional.conv2d}
    for number, axes in enumerate(axes for axes in SHAPES if not axes[0].ceil):
        kernel, stride, pad, dilation = window(axes)
        x, pads = drawn(axes, rng), Padding(explicit=tuple((p, p) for p in pad))
        groups = 1 + number % 2
        op = Conv(4, kernel, stride, pads, dilation, groups, bias=False)
        if not accepts(op, x):
            continue
        w = rng.normal(size=(4, 2 // groups, *kernel))
        given = (torch.from_numpy(x), torch.from_numpy(w), None)
        y = run[len(axes)](*given, stride, pad, dilation, groups)
        np.testing.assert_allclose(op.reference(x, w), y.numpy(), rtol=1e-9, atol=1e-12)
        compared += 1
    assert compared > 400


def test_transposed_convolution() -> None:
    """With every output padding there may be."""
    rng, compared = np.random.default_rng(3), 0
    run = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}
    for number, axes in enumerate(axes for axes in SHAPES if not axes[0].ceil):
        kernel, stride, pad, dilation = window(axes)
        x, pads = drawn(axes, rng), Padding(explicit=tuple((p, p) for p in pad))
        groups = 1 + number % 2
        w = rng.normal(size=(2, 4 // groups, *kernel))
        given = (torch.from_numpy(x), torch.from_numpy(w), None)
        for extra in product(*(range(max(axis.stride, axis.dilation)) for axis in axes)):
            op = ConvTranspose(4, kernel, stride, pads, extra, dilation, groups, bias=False)
            if not accepts(op, x):
                continue
            y = run[len(axes)](*given, stride, pad, extra, groups, dilation)
            np.testing.assert_allclose(op.reference(x, w), y.numpy(), rtol=1e-9, atol=1e-12)
            compared += 1
    assert compared > 1500


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_is_the_same(dilation: int) -> None:
    """PyTorch has `same` for stride 1 only, with the odd element after the input."""
    rng = np.random.default_rng(4)
    for extent, k in product(range(1, 7), range(1, 6)):
        x, w = rng.normal(size=(1, 2, extent)), rng.normal(size=(3, 2, k))
        op = Conv(3, (k,), pad=Padding("same"), dilation=(dilation,), bias=False)
        given = (torch.from_numpy(x), torch.from_numpy(w))
        y = functional.conv1d(*given, padding="same", dilation=dilation)
        np.testing.assert_allclose(op.reference(x, w), y.numpy(), rtol=1e-9, atol=1e-12)
