"""Resizing to extents that are no whole multiple by the scale that positions follow."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from cnnc.base.record import record
from cnnc.ir.graph import OpError
from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.importers.resize_matrix import by_matrix
from cnnc.onnx.values import Flow, RefusedError
from cnnc.ops.movement.sampling import LONGEST, TAPS, Line, Sampling, line_of, simplest

LARGEST = 2**22
"""Elements of a matrix."""


@record
class Method:
    """How elements come from those around a position; words as in ONNX."""

    mode: str
    coordinates: str
    rounding: str
    coefficient: float
    exclude_outside: bool


def by_scales(
    build: Builder, x: Flow, places: Sequence[int], scales: Sequence[float], method: Method
) -> Flow:
    """Extents times scales, rounded down; corners are aligned by what was not rounded yet."""
    for axis, scale in zip(places, scales, strict=True):
        exact = simplest(scale)
        x = _resized(build, x, axis, int(x.shape[axis] * exact), exact, method)
    return x


def by_aspect_ratio(
    build: Builder,
    x: Flow,
    places: Sequence[int],
    sizes: Sequence[int],
    policy: str,
    method: Method,
) -> Flow:
    """One scale for all axes, the smallest or largest that the sizes ask for; extents rounded."""
    ratios = [Fraction(size, x.shape[axis]) for axis, size in zip(places, sizes, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    for axis in places:
        out = int(float(scale) * x.shape[axis] + 0.5)  # as ONNX's reference does, in float64
        x = _resized(build, x, axis, out, scale, method)
    return x


def _resized(build: Builder, x: Flow, axis: int, out: int, scale: Fraction, method: Method) -> Flow:
    extent = x.shape[axis]
    if not 0 < out <= LONGEST:
        raise RefusedError(f"its result would have {out} elements along axis {axis}")
    if extent * out > LARGEST:
        raise RefusedError(f"its matrix would have more than {LARGEST} elements")
    line = _line(method.coordinates, extent, out, scale)
    if line.is_identity and out == extent:
        return x
    if method.mode == "nearest" or line.is_identity:
        line = line.rounded(method.rounding)
        return by_matrix(build, x, axis, _matrix(Sampling(extent, out, line), np.ones((out, 1))))
    sampling = Sampling(extent, out, line, TAPS[method.mode])
    try:
        weights = sampling.weights(method.coefficient, method.exclude_outside)
    except OpError as error:
        raise RefusedError(error.why) from None
    return by_matrix(build, x, axis, _matrix(sampling, weights))


def _line(coordinates: str, extent: int, out: int, scale: Fraction) -> Line:
    """Positions in the input, as ONNX's reference says where extent times scale is rounded."""
    whole = extent * scale
    if coordinates == "align_corners" and out > 1:
        return Line.of((extent - 1) / (whole - 1), Fraction(0))
    if coordinates == "half_pixel_symmetric":
        moved = Fraction(extent, 2) * (1 - out / whole)
        return Line.of(1 / scale, moved + Fraction(1, 2) / scale - Fraction(1, 2))
    return line_of(coordinates, extent, out, scale)


def _matrix(sampling: Sampling, weights: Array) -> Array:
    """[extent, out]: what each element weighs in each result."""
    made = np.zeros((sampling.extent, sampling.out))
    for tap, column in zip(sampling.taps, weights.T, strict=True):
        np.add.at(made, (sampling.sources(tap), np.arange(sampling.out)), column)
    return made.astype(np.float32)
