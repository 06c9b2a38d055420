"""Resizing that cnnc has no operator for: along each axis it is a product with a known matrix."""

import warnings
from typing import Any

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.importers.moves import MOST_PIECES, pick, progressions
from cnnc.onnx.values import Call, Flow, Known, RefusedError, axis_of

LARGEST = 2**16
"""Elements of a matrix: each is interpolated on its own."""


def by_matrices(call: Call, build: Builder, x: Flow) -> Flow:
    """Resize by the matrices that ONNX's reference makes of unit vectors, axis by axis.

    Outside of what `tf_crop_and_resize` cuts out there is the `extrapolation_value`.
    """
    rank = x.rank
    axes = places_of(call, x)
    sizes, scales, roi = call.integers(3, "sizes"), call.known(2, "scales"), call.known(1, "region")
    count = len(sizes) if sizes else scales.size if scales is not None else 0
    if count != len(axes):
        raise RefusedError("its sizes or scales are not one for each axis")
    if call.word("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise RefusedError("it keeps the aspect ratio, and is no plain resizing")
    crops = call.word("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    outside = np.zeros((1,) * rank, np.bool_)
    for place, axis in enumerate(axes):
        size = [x.shape[axis], sizes[place]] if sizes else None
        scale = None if sizes or scales is None else [1.0, float(scales.reshape(-1)[place])]
        part = _part(roi, place, len(axes))
        matrix, beyond = _matrix(call, x, axis, size, scale, part)
        if crops and len(matrix) == matrix.shape[1] and part[1::2] != [0.0, 1.0]:
            why = "it crops an axis whose extent stays, which implementations disagree on"
            raise RefusedError(why)
        outside = outside | np.asarray(beyond, np.bool_).reshape(-1, *(1,) * (rank - axis - 1))
        x = by_matrix(build, x, axis, matrix)
    if not outside.any():
        return x
    value = np.array(call.number("extrapolation_value", 0.0), x.dtype.numpy)
    return build.stage("where", [Known(outside), Known(value), x])


def places_of(call: Call, x: Flow) -> list[int]:
    """The axes in the order in which sizes and scales are given."""
    given = call.integer_list("axes")
    axes = [*range(x.rank)] if given is None else [axis_of(axis, x.rank) for axis in given]
    if len({*axes}) < len(axes):
        raise RefusedError("an axis is given twice")
    return axes


def by_matrix(build: Builder, x: Flow, axis: int, matrix: Array) -> Flow:
    """Mix the elements along an axis by [extent, out]; where each is one of them, pick them."""
    if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix))):
        return x
    places = matrix.argmax(axis=0)
    is_picked = np.array_equal(matrix, places == np.arange(len(matrix))[:, None])
    if is_picked and len(runs := progressions(places.tolist())) <= MOST_PIECES:
        return pick(build, x, axis, runs)
    return _times(build, x, axis, matrix)


def _times(build: Builder, x: Flow, axis: int, matrix: Array) -> Flow:
    order = [*(n for n in range(x.rank) if n != axis), axis]
    back = [order.index(n) for n in range(x.rank)]
    if x.rank == 1:
        row = build.stage("matmul", [build.reshape(x, (1, *x.shape)), Known(matrix)])
        return build.reshape(row, row.shape[1:])
    made = build.stage("matmul", [build.transpose(x, order), Known(matrix)])
    return build.transpose(made, back)


def _part(roi: Array | None, place: int, count: int) -> list[float]:
    """The cut along one axis."""
    if roi is None or roi.size != 2 * count:
        return [0.0, 0.0, 1.0, 1.0]
    ends = roi.reshape(2, count).astype(float)
    return [0.0, float(ends[0, place]), 1.0, float(ends[1, place])]


def _matrix(
    call: Call,
    flow: Flow,
    axis: int,
    size: list[int] | None,
    scale: list[float] | None,
    part: list[float],
) -> tuple[Array, Array]:
    """[extent, out], and which of the results lie outside."""
    extent, kind = flow.shape[axis], flow.dtype.numpy
    out = size[1] if size else int(extent * (scale or [1, 1])[1]) + 1
    if extent * out > LARGEST or out < 1:
        raise RefusedError(f"its matrix would have more than {LARGEST} elements")
    rows = _resized(call, np.eye(extent).astype(kind), size, scale, part, 0.0)
    one = np.zeros((1, extent), kind)
    beyond = _resized(call, one, size and [1, size[1]], scale, part, 1.0)
    if 0 in rows.shape:
        raise RefusedError("its result has no elements")
    return rows, beyond[0] == 1.0


def _resized(
    call: Call,
    x: Array,
    size: list[int] | None,
    scale: list[float] | None,
    part: list[float],
    extrapolation: float,
) -> Array:
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    kept = ("antialias", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside")
    attributes: dict[str, Any] = {
        name: call.attributes[name] for name in kept if name in call.attributes
    }
    names = ["x", "roi", "" if scale is None else "scales", "" if size is None else "sizes"]
    node = helper.make_node(
        "Resize", names, ["y"], mode=call.word("mode", "nearest"),
        nearest_mode=call.word("nearest_mode", "round_prefer_floor"),
        extrapolation_value=extrapolation, **attributes,
    )  # fmt: skip
    own = helper.np_dtype_to_tensor_dtype(x.dtype)
    kinds = [(own, "x"), (TensorProto.FLOAT, "roi"), (TensorProto.FLOAT, "scales")]
    kinds.append((TensorProto.INT64, "sizes"))
    ends = [
        helper.make_tensor_value_info(name, kind, None) for kind, name in kinds if name in names
    ]
    y = helper.make_tensor_value_info("y", own, None)
    model = helper.make_model(
        helper.make_graph([node], "one", ends, [y]), opset_imports=[helper.make_opsetid("", 19)]
    )
    fed: dict[str, Array] = {"x": x, "roi": np.array(part, np.float32)}
    fed |= {} if scale is None else {"scales": np.array(scale, np.float32)}
    fed |= {} if size is None else {"sizes": np.array(size, np.int64)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results: Any = ReferenceEvaluator(model).run(None, fed)
            made: Array = results[0]
    except Exception as error:  # the reference raises whatever NumPy does
        raise RefusedError(f"its positions cannot be computed: {error}") from None
    return made.astype(x.dtype)
