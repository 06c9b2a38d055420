"""Where the largest element of every window is: against ONNX Runtime, counting and `pool(max)`."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Padding
from cnnc.ops.pool import Pool
from cnnc.ops.pool_argmax import PoolArgMax
from cnnc.ops.pool_kinds import Maximum
from tests.ops.evaluate_loops import run_loops
from tests.ops.onnx_model import OPSET

Real = NDArray[np.float64]
AROUND = Padding(explicit=((1, 1),))
WINDOWS = [
    PoolArgMax((2,)),
    PoolArgMax((3,), (2,), AROUND),
    PoolArgMax((3,), (1,), Padding("same"), (2,)),
    PoolArgMax((2, 3), (2, 1), AROUND, ceil=True),
]


def counted(op: PoolArgMax, x: Real) -> NDArray[np.int64]:
    """The second result of MaxPool, which counts the whole tensor."""
    from onnx import TensorProto, helper

    from tests.onnx.runtime import run_onnx

    window = op.window(TensorType.plain(x.shape))
    node = helper.make_node(
        "MaxPool", ["x"], ["y", "i"], kernel_shape=window.kernel, strides=window.stride,
        dilations=window.dilation, pads=[end[side] for side in (0, 1) for end in window.pads],
        ceil_mode=int(op.ceil), storage_order=int(op.order == "column_major"),
    )  # fmt: skip
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    made = helper.make_tensor_value_info("i", TensorProto.INT64, None)
    graph = helper.make_graph([node], "one", [given], [made])
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return run_onnx(model, {"x": x.astype(np.float32)})["i"]


@pytest.mark.parametrize("order", ["row_major", "column_major"])
@pytest.mark.parametrize("op", WINDOWS, ids=lambda op: op.label)
def test_counts_as_onnx_runtime(op: PoolArgMax, order: str) -> None:
    """Few values, so that there are many ties."""
    own = PoolArgMax(op.size, op.stride, op.pad, op.dilation, op.ceil, order, whole=True)
    x = np.random.default_rng(0).integers(0, 4, (2, 3, 7, 8)).astype(np.float64)
    np.testing.assert_array_equal(own.reference(x), counted(own, x))
    np.testing.assert_array_equal(run_loops(own, [x]), own.reference(x))


@pytest.mark.parametrize("op", WINDOWS, ids=lambda op: op.label)
def test_finds_what_pooling_finds(op: PoolArgMax) -> None:
    """With NaN and infinities, and where a window holds nothing but -inf."""
    rng = np.random.default_rng(1)
    x = rng.choice(
        [-np.inf, -np.inf, 0.5, np.inf, np.nan], (2, 3, 7, 8), p=[0.4, 0.4, 0.1, 0.05, 0.05]
    )
    places = op.reference(x)
    np.testing.assert_array_equal(run_loops(op, [x]), places)
    assert places.min() >= 0
    found = np.take_along_axis(x.reshape(2, 3, -1), places.reshape(2, 3, -1), 2)
    largest = Pool(Maximum(), op.size, op.stride, op.pad, op.dilation, op.ceil).reference(x)
    np.testing.assert_array_equal(found.reshape(places.shape), largest)


def test_the_first_of_equals_by_hand() -> None:
    x = np.array([[[[1.0, 1, 0, np.nan], [1, 1, np.nan, 0], [-np.inf] * 4, [-np.inf] * 4]]])
    assert PoolArgMax((2,)).reference(x).tolist() == [[[[0, 3], [8, 10]]]]
    assert PoolArgMax((2,), order="column_major").reference(x).tolist() == [[[[0, 12], [2, 10]]]]


def test_errors_reach_rivals_only() -> None:
    """A winner that another element in its window may overtake is uncertain, others are not."""
    op, x = PoolArgMax((2,)), np.zeros((1, 1, 2, 6))
    x[0, 0, 0] = [1, 0, 1, 0.9, 0, 0]
    errors = np.full_like(x, 0.06)
    bound = op.error(0.0, op.reference(x), [x], [errors])
    assert bound.tolist() == [[[[0, 12, 12]]]]
    assert not op.error(0.0, op.reference(x), [x], [0 * errors]).any()
    for change in product((-0.06, 0.06), repeat=2):
        x[0, 0, 0, :2] = 1 + change[0], 0 + change[1]
        assert op.reference(x)[0, 0, 0, 0] == 0
