"""Resizing against ONNX Runtime: every mode, coordinates and rounding on all short axes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from cnnc.base.dtype import DType
from cnnc.ir.types import TensorType
from cnnc.ops.movement.resize import Resize
from cnnc.ops.movement.sampling import COORDINATES, ROUNDINGS, Line
from tests.ops.cases import CASES, Case, Real
from tests.ops.evaluate_loops import run_loops
from tests.ops.onnx_model import Attribute, run_onnx

F32 = NDArray[np.float32]
Integers = NDArray[np.int64]
KINDS = [
    *(("nearest", rounding, False) for rounding in ROUNDINGS),
    ("linear", ROUNDINGS[0], False),
    ("cubic", ROUNDINGS[0], False),
    ("cubic", ROUNDINGS[0], True),
]
SCALES = (0.3, 1 / 3, 0.5, 0.6, 0.75, 1.0, 1.1, 1.5, 1.7, 2.0, 2.5, 3.0)
SAMPLES = [case for case in CASES if isinstance(case.op, Resize)]


def attributes(op: Resize) -> Mapping[str, Attribute]:
    """Of ONNX's operator, whose names for the choices are ours."""
    return {
        "mode": op.mode,
        "coordinate_transformation_mode": op.coordinates,
        "nearest_mode": op.rounding,
        "cubic_coeff_a": op.coefficient,
        "exclude_outside": int(op.exclude_outside),
    }


def model(cases: Sequence[tuple[Resize, tuple[int, ...]]]) -> bytes:
    """One ONNX model of many operators; those on inputs of equal shape share one."""
    nodes, extents, outputs = [], [], []
    inputs = {
        shape: helper.make_tensor_value_info(name_of(shape), TensorProto.FLOAT, shape)
        for _, shape in cases
    }
    for number, (op, shape) in enumerate(cases):
        name = f"e{number}"
        if op.size:
            extents.append(numpy_helper.from_array(np.array((1, 1, *op.size), np.int64), name))
        else:
            extents.append(numpy_helper.from_array(np.array((1, 1, *op.scale), np.float32), name))
        operands = [name_of(shape), "", *([""] if op.size else []), name]
        nodes.append(helper.make_node("Resize", operands, [f"y{number}"], **attributes(op)))
        outputs.append(helper.make_tensor_value_info(f"y{number}", TensorProto.FLOAT, None))
    graph = helper.make_graph(nodes, "resizes", list(inputs.values()), outputs, extents)
    opset = helper.make_opsetid("", 19)
    made: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    return made


def name_of(shape: tuple[int, ...]) -> str:
    """An input of this shape."""
    return "x" + "_".join(map(str, shape))


def run(cases: Sequence[tuple[Resize, tuple[int, ...]]], xs: Mapping[str, F32]) -> list[F32]:
    """All results of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    results: list[F32] = onnxruntime.InferenceSession(model(cases), options).run(None, dict(xs))
    return results


def every_row(coordinates: str) -> Iterator[tuple[Resize, tuple[int, ...]]]:
    """All kinds, sizes and scales on the last axis of an image of one row."""
    for (mode, rounding, outside), n in product(KINDS, range(1, 9)):
        given = (coordinates, rounding, -0.75, outside)
        for m in range(1, 13):
            yield Resize(mode, (), (1, m), *given), (1, 1, 1, n)
        for scale in SCALES:
            if n * scale >= 1:
                yield Resize(mode, (1.0, scale), (), *given), (1, 1, 1, n)


def reference(op: Resize, x: Real) -> Real:
    """The result with the operator's own tables."""
    tables = [spec.value for spec in op.parameters(TensorType.plain(x.shape))]
    return op.reference(x, *[np.float64(table) for table in tables if table is not None])


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_every_short_row(coordinates: str) -> None:
    """Equal, but where float32 falls to the other side of a tie.

    ONNX Runtime copies whatever keeps its extent, even if a scale of 1.1 gives other positions.
    """
    rng = np.random.default_rng(8)
    cases = list(every_row(coordinates))
    xs = {name_of(s): rng.normal(size=s).astype(np.float32) for s in {s for _, s in cases}}
    ties = []
    for (op, shape), expected in zip(cases, run(cases, xs), strict=True):
        x = np.float64(xs[name_of(shape)])
        found = reference(op, x)
        assert found.shape == expected.shape, op.label
        if found.shape == x.shape and op.scale == (1.0, 1.1):
            np.testing.assert_array_equal(expected, x)
            continue
        wrong = np.abs(found - expected) > 1e-5
        if wrong.any() and op.mode == "nearest":
            ties += [(op.label, shape, int(o)) for o in np.flatnonzero(wrong)]
            (line,) = (each.line for each in op.samplings(TensorType.plain(shape))[1:])
            assert all((o * line.factor + line.shift) % line.divisor == 0 for _, _, o in ties[-1:])
        else:
            assert not wrong.any(), (op.label, shape)
    assert len(cases) > 1200
    assert len(ties) <= 1, ties


def run_whole(op: Resize, x: Real) -> Real:
    """ONNX Runtime on a tensor; it has `cubic` on images only."""
    rank = x.ndim - 2
    if op.mode == "cubic" and rank == 1:
        return run_whole(with_row(op), x[:, :, None])[:, :, 0]
    scale = np.array((1, 1, *spread(op.scale, rank)), np.float32) if op.scale else None
    size = np.array((*x.shape[:2], *spread(op.size, rank)), np.int64) if op.size else None
    if op.mode == "cubic" and rank == 3:
        return run_reference(op, x, scale, size)
    return run_onnx("Resize", [x], attributes(op), [None, scale, size])


def with_row(op: Resize) -> Resize:
    """The operator on a series, as one on images of one row."""
    scale, size = (1.0, *op.scale) if op.scale else (), (1, *op.size) if op.size else ()
    return replace(op, scale=scale, size=size)


def spread(values: tuple[float, ...], rank: int) -> tuple[float, ...]:
    """One for each axis."""
    return values * rank if len(values) == 1 else values


def run_reference(op: Resize, x: Real, scale: F32 | None, size: Integers | None) -> Real:
    """The reference implementation of the ONNX standard."""
    names = ["x", "", "scale" if size is None else "", "size" if size is not None else ""]
    node = helper.make_node("Resize", names, ["y"], **attributes(op))
    feeds = {"x": x, "scale": scale, "size": size}
    (y,) = ReferenceEvaluator(node).run(None, {k: v for k, v in feeds.items() if v is not None})
    result: Real = y
    return result


@pytest.mark.parametrize("case", SAMPLES, ids=str)
def test_several_axes_at_once(case: Case) -> None:
    assert isinstance(case.op, Resize)
    expected = run_whole(case.op, case.operands[0])
    found = case.op.reference(*case.operands)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "extent", "expected"),
    [(0.6, 10, 6), (1 / 3, 9, 3), (2 / 3, 6, 4), (0.29, 100, 29), (1.1, 10, 11), (1.5, 5, 7)],
)
def test_a_scale_is_the_fraction_it_stands_for(scale: float, extent: int, expected: int) -> None:
    """In floating point, 0.29 * 100 is less than 29."""
    for given in (scale, float(np.float32(scale))):
        op = Resize("nearest", (given,))
        assert op.infer(TensorType.plain((1, 1, extent))).spatial == (expected,)


def test_doubling_is_a_division_of_the_index() -> None:
    """The loops of the commonest case are as plain as can be."""
    for rounding in ROUNDINGS[:2]:
        (each,) = Resize("nearest", (2.0,), rounding=rounding).samplings(
            TensorType.plain((1, 1, 9))
        )
        assert each.line == Line(1, 0, 2)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_constants_stay_constant(mode: str) -> None:
    """Weights add up to 1 at every position."""
    for coordinates, n, m in product(COORDINATES, range(1, 6), range(1, 9)):
        op = Resize(mode, size=(m,), coordinates=coordinates)
        np.testing.assert_allclose(reference(op, np.ones((1, 1, n))), np.ones((1, 1, m)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.bool_])
def test_nearest_takes_any_element_type(dtype: type) -> None:
    x = np.array([[[0, 1, 1, 0]]], dtype)
    op = Resize("nearest", (2.0,))
    result = run_loops(op, [x])
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, x.repeat(2, axis=2))
    assert op.infer(TensorType.plain(x.shape, DType.of(dtype))).dtype is DType.of(dtype)
