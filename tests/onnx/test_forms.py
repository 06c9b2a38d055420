"""Forms of operators that random models do not have: old ones, and those few runtimes agree on."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import cnnc.onnx
import cnnc.onnx_backend as backend
from cnnc.base.errors import UserError

Array = NDArray[np.generic]
RNG = np.random.default_rng(0)


def drawn(*shape: int) -> NDArray[np.float32]:
    """Numbers of a normal distribution."""
    return RNG.normal(size=shape).astype(np.float32)


def one(
    op: str,
    opset: int,
    arrays: Sequence[Array],
    known: int = 0,
    results: int = 1,
    **attributes: object,
) -> onnx.ModelProto:
    """A model of one node, whose last operands are known."""
    names = [f"x{number}" if each.size else "" for number, each in enumerate(arrays)]
    outputs = [f"y{number}" for number in range(results)]
    made = helper.make_node(op, names, outputs, **attributes)
    pairs = [pair for pair in zip(names, arrays, strict=True) if pair[0]]
    split = len(pairs) - known
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(each.dtype), each.shape)
        for name, each in pairs[:split]
    ]
    initial = [numpy_helper.from_array(each, name) for name, each in pairs[split:]]
    ends = [helper.make_tensor_value_info(name, 0, None) for name in outputs]
    graph = helper.make_graph([made], "one", given, ends, initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(
    op: str, opset: int, *arrays: Array, known: int = 0, results: int = 1, **attributes: object
) -> list[Array]:
    """What cnnc makes of it."""
    model = one(op, opset, arrays, known, results, **attributes)
    fed = [each for each in arrays if each.size]
    return [*backend.run_model(model, fed[: len(fed) - known])]


A, B, C = drawn(2, 3, 4), drawn(3), drawn(3, 4)
ALONG = {"broadcast": 1, "axis": 1}
OLD = [
    ("Add", 6, [A, B], ALONG, A + B[:, None]),
    ("Sub", 1, [A, C], {"broadcast": 1}, A - C),
    ("Div", 6, [A, C], {"broadcast": 1, "axis": 1}, A / C),
    ("Pow", 1, [np.abs(A), B], ALONG, np.abs(A) ** B[:, None]),
    ("Less", 1, [A, B], ALONG, B[:, None] > A),
    ("And", 1, [A > 0, B > 0], ALONG, (A > 0) & (B > 0)[:, None]),
    ("PRelu", 6, [A, B], {}, np.where(A < 0, A * B[:, None], A)),
    ("Softmax", 1, [A], {"axis": 1}, np.exp(A) / np.exp(A).sum((1, 2), keepdims=True)),
    ("Pad", 1, [A], {"paddings": [0, 0, 1, 0, 2, 0], "value": 2.0},
     np.pad(A, ((0, 0), (0, 2), (1, 0)), constant_values=2)),
    ("Clip", 1, [A], {"max": 0.5}, np.minimum(A, 0.5)),
    ("Cast", 1, [A], {"to": "INT32"}, A.astype(np.int32)),
    ("Reshape", 1, [A], {"shape": [4, -1]}, A.reshape(4, 6)),
    ("Tile", 1, [A, np.array(2), np.array(1)], {}, np.tile(A, (1, 2, 1))),
    ("Concat", 1, [A, A], {}, np.concatenate([A, A], 1)),
    ("Gemm", 6, [C, C.T.copy(), B], {"broadcast": 1}, C @ C.T + B),
    ("Upsample", 1, [A[None]], {"height_scale": 2.0, "width_scale": 3.0},
     A[None].repeat(2, 2).repeat(3, 3)),
]  # fmt: skip


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("op", "opset", "arrays", "attributes", "expected"), OLD)
def test_old_forms(
    op: str,
    opset: int,
    arrays: list[Array],
    attributes: dict[str, object],
    expected: Array,
    known: bool,
) -> None:
    """Computed at run time, and of known operands while the model is read."""
    model = one(op, opset, arrays, len(arrays) if known else 0, **attributes)
    if known:  # so that something is computed at run time at least
        kind = helper.np_dtype_to_tensor_dtype(expected.dtype)
        model.graph.node.append(helper.make_node("Concat", ["y0", "z"], ["y1"], axis=0))
        model.graph.input.append(helper.make_tensor_value_info("z", kind, expected.shape))
        model.graph.output[0].name = "y1"
    (found,) = backend.run_model(model, [np.zeros_like(expected)] if known else arrays)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-5, atol=1e-6)


def by_reference(model: onnx.ModelProto, arrays: Sequence[Array]) -> list[Array]:
    """What ONNX's reference makes of it."""
    names = [each.name for each in model.graph.input]
    found: list[Array] = ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))
    return found


COORDINATES = (
    "half_pixel",
    "align_corners",
    "asymmetric",
    "pytorch_half_pixel",
    "half_pixel_symmetric",
)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_aspect_ratios_as_in_the_reference(mode: str, coordinates: str) -> None:
    x, none = drawn(1, 2, 5, 8), np.zeros(0, np.float32)
    options = {"mode": mode, "coordinate_transformation_mode": coordinates, "axes": [2, 3]}
    for policy, sizes in product(("not_larger", "not_smaller"), ([6, 9], [3, 3], [11, 5])):
        given = [x, none, none, np.array(sizes)]
        model = one("Resize", 19, given, 1, keep_aspect_ratio_policy=policy, **options)
        (found,), (wanted,) = backend.run_model(model, [x]), by_reference(model, [x])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_aligned_corners_of_fractions_as_in_the_reference(mode: str) -> None:
    x, none = drawn(1, 2, 5, 8), np.zeros(0, np.float32)
    options = {"mode": mode, "coordinate_transformation_mode": "align_corners"}
    for scales in ([1, 1, 1.5, 0.7], [1, 1, 0.3, 2.3], [1, 1, 1, 1.7]):
        model = one("Resize", 19, [x, none, np.array(scales, np.float32)], 1, **options)
        (found,), (wanted,) = backend.run_model(model, [x]), by_reference(model, [x])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_nearest_of_infinities_stays() -> None:
    """Elements are picked, and not mixed with others times 0."""
    x, none = np.full((1, 1, 4, 4), np.inf, np.float32), np.zeros(0, np.float32)
    scales = np.array([1, 1, 1.3, 1.3], np.float32)
    options = {"mode": "nearest", "coordinate_transformation_mode": "align_corners"}
    (found,) = run("Resize", 19, x, none, scales, known=1, **options)
    assert np.isinf(found).all()


def test_places_of_pools() -> None:
    x = RNG.integers(0, 4, (2, 3, 7, 8)).astype(np.float32)
    for order in (0, 1):
        window = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}
        found, places = run("MaxPool", 12, x, results=2, storage_order=order, **window)
        assert places.dtype == np.int64
        flat = x if order == 0 else x.swapaxes(2, 3)
        np.testing.assert_array_equal(flat.reshape(-1)[places], found)


def test_tensors_without_elements() -> None:
    nothing = np.zeros((2, 0, 4), np.float32)
    model = one("ReduceSum", 18, [A, np.array([1])], 1)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 0
    (total,) = backend.run_model(model, [nothing])
    np.testing.assert_array_equal(total, np.zeros((2, 1, 4), np.float32))
    (empty,) = run("Slice", 13, A, np.array([5]), np.array([9]), np.array([1]), known=3)
    assert (empty.shape, empty.dtype) == ((2, 0, 4), np.float32)
    parts = run("Split", 13, A, np.array([0, 3, 0]), known=1, results=3, axis=1)
    assert [each.shape for each in parts] == [(2, 0, 4), (2, 3, 4), (2, 0, 4)]
    np.testing.assert_array_equal(parts[1], A)
    split = one("Split", 13, [A, np.array([0, 3])], 1, 2, axis=1)
    with pytest.raises(UserError, match="has no elements"):
        cnnc.onnx.load(split)
    nodes = [*split.graph.node, helper.make_node("Concat", ["y0", "y1"], ["y"], axis=1)]
    split.graph.ClearField("node")
    split.graph.node.extend(nodes)
    del split.graph.output[1]
    split.graph.output[0].name = "y"
    np.testing.assert_array_equal(backend.run_model(split, [A])[0], A)


def test_padding_with_what_is_no_number() -> None:
    for value in (-np.inf, np.nan):
        pads, filler = np.array([0, 1, 0, 0, 0, 2]), np.array(value, np.float32)
        (found,) = run("Pad", 13, A, pads, filler, known=2)
        wanted = np.pad(A, ((0, 0), (1, 0), (0, 2)), constant_values=value)
        np.testing.assert_array_equal(found, wanted)


def test_known_tensors_like_others() -> None:
    """Their type follows from what is computed at run time, their elements do not."""
    cast = helper.make_node("CastLike", ["c", "x0"], ["like"])
    model = one("Pad", 19, [A, np.array([0, 0, 1, 0, 0, 0]), np.array(-2, np.float64)], 2)
    model.graph.node[0].input[2] = "like"
    nodes = [cast, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    model.graph.initializer[1].name = "c"
    (found,) = backend.run_model(model, [A])
    np.testing.assert_array_equal(found[:, :, 0], -2)


def test_hardmax_and_erf() -> None:
    for opset, axes in ((11, (1, 2)), (13, 1)):
        (found,) = run("Hardmax", opset, A, axis=1)
        np.testing.assert_array_equal(found.sum(axes), 1)
        assert (A[found == 1] == A.max(axes).reshape(-1)).all() or opset == 13
    (found,) = run("Erf", 13, A)
    (wanted,) = by_reference(one("Erf", 13, [A]), [A])
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_vectors_are_gathered() -> None:
    x = np.arange(10, dtype=np.float32)
    (found,) = run("Gather", 13, x, np.array([0, -9, -10, 5]), known=1)
    np.testing.assert_array_equal(found, x[[0, 1, 0, 5]])


def test_lists_of_integers_are_known_when_they_must_be() -> None:
    """Arithmetic on shapes that are inputs: other values compile the model again."""
    model = one("Expand", 13, [drawn(1, 3), np.array([2, 3])])
    double = helper.make_node("Add", ["x1", "x1"], ["sum"])
    model.graph.node[0].input[1] = "size"
    nodes = [double, helper.make_node("Sub", ["sum", "x1"], ["size"]), *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    made = backend.prepare(model, backend="reference")
    for rows in (2, 5):
        (found,) = made.run([np.ones((1, 3), np.float32), np.array([rows, 3])])
        assert found.shape == (rows, 3)
