"""Resizing and shuffling against PyTorch, whose modes are some of ONNX's."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest

from cnnc.base.dtype import DType
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Padding
from cnnc.ops.movement.depth_to_space import DepthToSpace
from cnnc.ops.movement.pad import Mode, Pad
from cnnc.ops.movement.resize import Resize
from cnnc.ops.movement.space_to_depth import SpaceToDepth
from tests.ops.cases import Real

torch = pytest.importorskip("torch")
functional = torch.nn.functional
pytestmark = pytest.mark.torch

MODES: Mapping[tuple[str, bool], tuple[str, str, str]] = {
    ("nearest", False): ("nearest", "asymmetric", "floor"),
    ("nearest-exact", False): ("nearest", "half_pixel", "round_prefer_ceil"),
    ("linear", False): ("linear", "half_pixel", "round_prefer_floor"),
    ("linear", True): ("linear", "align_corners", "round_prefer_floor"),
    ("bicubic", False): ("cubic", "half_pixel", "round_prefer_floor"),
    ("bicubic", True): ("cubic", "align_corners", "round_prefer_floor"),
}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
SCALES = (0.5, 0.6, 0.75, 1.5, 1.7, 2.0, 2.5, 3.0)


def resized(op: Resize, x: Real) -> Real:
    """The reference with tables in float64."""
    tables = [spec.value for spec in op.parameters(TensorType.plain(x.shape, DType.F64))]
    return op.reference(x, *[np.float64(table) for table in tables if table is not None])


def given(mode: str, corners: bool, rank: int) -> dict[str, object]:
    """Arguments of `interpolate`; only modes that mix know about corners."""
    if mode.startswith("nearest"):
        return {"mode": mode}
    return {"mode": LINEAR[rank] if mode == "linear" else mode, "align_corners": corners}


@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_every_small_size(mode: str, corners: bool) -> None:
    rng = np.random.default_rng(6)
    ours, coordinates, rounding = MODES[mode, corners]
    for rank, n, m in product((1, 2, 3), range(1, 7), range(1, 10)):
        if mode == "bicubic" and rank != 2:
            continue
        x = rng.normal(size=(1, 2, *[n] * rank))
        arguments = given(mode, corners, rank)
        expected = functional.interpolate(torch.from_numpy(x), size=(m,) * rank, **arguments)
        op = Resize(ours, size=(m,), coordinates=coordinates, rounding=rounding)
        np.testing.assert_allclose(resized(op, x), expected.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_every_scale(mode: str, corners: bool) -> None:
    """Positions follow the scale that was given, not the one that comes of the extents."""
    rng = np.random.default_rng(7)
    ours, coordinates, rounding = MODES[mode, corners]
    for n, scale in product(range(2, 9), SCALES):
        x = rng.normal(size=(1, 2, n, n))
        arguments = given(mode, corners, 2)
        expected = functional.interpolate(torch.from_numpy(x), scale_factor=scale, **arguments)
        op = Resize(ours, (scale,), coordinates=coordinates, rounding=rounding)
        np.testing.assert_allclose(resized(op, x), expected.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_pixel_shuffle(block: int) -> None:
    x = np.random.default_rng(8).normal(size=(2, 2 * block**2, 3, 6))
    expected = functional.pixel_shuffle(torch.from_numpy(x), block).numpy()
    np.testing.assert_array_equal(DepthToSpace((block,), "crd").reference(x), expected)
    back = functional.pixel_unshuffle(torch.from_numpy(expected), block).numpy()
    np.testing.assert_array_equal(SpaceToDepth((block,), "crd").reference(expected), back)


@pytest.mark.parametrize(
    ("mode", "theirs"), [("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")]
)
def test_padding(mode: str, theirs: str) -> None:
    x = np.random.default_rng(9).normal(size=(2, 3, 4, 5))
    expected = functional.pad(torch.from_numpy(x), (2, 1, 3, 0), theirs).numpy()
    op = Pad(Padding(explicit=((3, 0), (2, 1))), Mode(mode))  # type: ignore[arg-type]
    np.testing.assert_array_equal(op.reference(x), expected)
