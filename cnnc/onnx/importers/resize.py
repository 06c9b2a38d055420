"""Resizing."""

from collections.abc import Sequence
from math import floor

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.importers.resize_matrix import by_matrices
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, RefusedError, axis_of, shortest
from cnnc.ops.attributes import Symbol
from cnnc.ops.attributes import Value as Attribute
from cnnc.ops.movement.sampling import COORDINATES

_MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}


@importer("Upsample")
def upsample(call: Call, build: Builder) -> Flow:
    """Scales are an attribute up to opset 8, an operand after that; positions are asymmetric."""
    x = build.flow(call.flow(0))
    if call.opset < 7:
        raise RefusedError("its form before opset 7 is not known")
    scales = call.attributes.get("scales") if call.opset < 9 else _scales(call, 1)
    return _asymmetric(call, build, x, scales)


@importer("Resize")
def resize(call: Call, build: Builder) -> Flow:
    """Opset 10 is an Upsample; from 11 on positions and rounding are attributes."""
    x = build.flow(call.flow(0))
    if call.opset < 11:
        return _asymmetric(call, build, x, _scales(call, 1))
    if _needs_matrices(call, x):
        return by_matrices(call, build, x)
    mode = _mode(call)
    coordinates = call.word("coordinate_transformation_mode", "half_pixel")
    if coordinates == "half_pixel_symmetric":
        coordinates = "half_pixel"  # where the scale comes out even, they are the same
    rounding = call.word("nearest_mode", "round_prefer_floor")
    if (coordinates, mode, rounding) == ("tf_half_pixel_for_nn", "nearest", "floor"):
        # (o + 1/2) / scale rounded down is what is half less, rounded with halves going up
        coordinates, rounding = "half_pixel", "round_prefer_ceil"
    if coordinates not in COORDINATES:
        raise RefusedError(f"its coordinates are {coordinates}")
    attributes: dict[str, Attribute] = {}
    if coordinates != "half_pixel":
        attributes["coordinates"] = Symbol(coordinates)
    if mode == "nearest" and rounding != "round_prefer_floor":
        attributes["rounding"] = Symbol(rounding)
    if mode == "cubic":
        coefficient = call.number("cubic_coeff_a", -0.75)
        attributes |= {} if coefficient == -0.75 else {"coefficient": coefficient}
    if call.integer("exclude_outside"):
        attributes |= {"exclude_outside": True} if mode == "cubic" else {}
    if coordinates == "align_corners" and not _comes_out_even(call, x):
        raise RefusedError("corners are aligned, and an extent times its scale is no whole number")
    axes = call.integer_list("axes")
    places = [*range(x.rank)] if axes is None else [axis_of(axis, x.rank) for axis in axes]
    sizes, scales = call.integers(3, "sizes"), _scales(call, 2)
    if sizes:
        return _to_sizes(call, build, x, places, sizes, (mode, attributes))
    return _to_scales(build, x, places, scales, (mode, attributes))


def _needs_matrices(call: Call, x: Flow) -> bool:
    """Whether it is none of what the operator `resize` does."""
    coordinates = call.word("coordinate_transformation_mode", "half_pixel")
    leaves_out = call.integer("exclude_outside") and call.word("mode", "nearest") == "linear"
    is_odd = coordinates == "half_pixel_symmetric" and not _comes_out_even(call, x)
    is_new = call.integer("antialias") or leaves_out or is_odd
    return bool(is_new) or coordinates == "tf_crop_and_resize"


def _comes_out_even(call: Call, x: Flow) -> bool:
    """Whether scales make whole numbers of elements: where not, implementations disagree."""
    scales = _scales(call, 2)
    if scales is None or call.integers(3, "sizes"):
        return True
    axes = call.integer_list("axes") or [*range(x.rank)]
    if len(axes) != len(scales):
        return False
    extents = [x.shape[axis_of(axis, x.rank)] * s for axis, s in zip(axes, scales, strict=True)]
    return all(abs(n - round(n)) < 1e-6 for n in extents)


def _asymmetric(call: Call, build: Builder, x: Flow, scales: object) -> Flow:
    """What was meant before positions were an attribute: o / scale, rounded down."""
    if not isinstance(scales, list):
        raise RefusedError("its scales are missing")
    mode = _mode(call)
    attributes: dict[str, Attribute] = {"coordinates": Symbol("asymmetric")}
    if mode == "nearest":
        attributes["rounding"] = Symbol("floor")
    return _to_scales(build, x, range(x.rank), scales, (mode, attributes))


def _mode(call: Call) -> str:
    mode = call.word("mode", "nearest")
    if mode not in _MODES:
        raise RefusedError(f"its mode is {mode}")
    return _MODES[mode]


def _scales(call: Call, place: int) -> list[float] | None:
    found = call.known(place, "scales")
    if found is None or not found.size:
        return None
    if found.dtype != np.float32 or found.size > 64:
        raise RefusedError("its scales are no short list of f32")
    return [shortest(each) for each in found.reshape(-1)]


def _to_scales(
    build: Builder,
    x: Flow,
    places: Sequence[int],
    scales: Sequence[float] | None,
    made: tuple[str, dict[str, Attribute]],
) -> Flow:
    if scales is None or len(scales) != len(places):
        raise RefusedError(f"its scales {scales} are not one for each axis")
    by_axis = [1.0] * x.rank
    for axis, scale in zip(places, scales, strict=True):
        if not 0 < scale < 2**20:
            raise RefusedError(f"a scale is {scale}")
        by_axis[axis] = float(scale)
    return _resized(build, x, by_axis, made, "scale")


def _to_sizes(
    call: Call,
    build: Builder,
    x: Flow,
    places: Sequence[int],
    sizes: Sequence[int],
    made: tuple[str, dict[str, Attribute]],
) -> Flow:
    if len(sizes) != len(places) or any(n < 1 for n in sizes):
        raise RefusedError(f"its sizes {list(sizes)} are not one for each axis")
    policy = call.word("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        extents = list(x.shape)
        for axis, size in zip(places, sizes, strict=True):
            extents[axis] = size
        return _resized(build, x, extents, made, "size")
    if policy not in ("not_larger", "not_smaller"):
        raise RefusedError(f"its policy is {policy}")
    factors = [size / x.shape[axis] for axis, size in zip(places, sizes, strict=True)]
    factor = min(factors) if policy == "not_larger" else max(factors)
    if any(floor(x.shape[axis] * factor) != floor(x.shape[axis] * factor + 0.5) for axis in places):
        raise RefusedError("it keeps the aspect ratio, and sizes would be rounded")
    return _to_scales(build, x, places, [factor] * len(places), made)


def _resized(
    build: Builder,
    x: Flow,
    amounts: Sequence[int | float],
    made: tuple[str, dict[str, Attribute]],
    name: str,
) -> Flow:
    """The spatial axes if only they change, or all axes as spatial ones."""
    mode, attributes = made
    same = [1.0, 1.0] if name == "scale" else [*x.shape[:2]]
    is_spatial = x.rank > 2 and [*amounts[:2]] == same
    given = tuple(amounts[2:] if is_spatial else amounts)
    if not given:
        raise RefusedError("its operand has no axes")
    held = x if is_spatial else build.reshape(x, (1, 1, *x.shape))
    short: Attribute = given[0] if len({*given}) == 1 and name == "scale" else given
    result = build.stage("resize", [held], {"mode": Symbol(mode), name: short, **attributes})
    return result if is_spatial else build.reshape(result, result.shape[2:])
