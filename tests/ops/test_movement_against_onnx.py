"""Operators that move elements, against ONNX Runtime."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnc.ir.types import TensorType
from cnnc.ops.movement.depth_to_space import DepthToSpace
from cnnc.ops.movement.pad import Pad
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.space_to_depth import SpaceToDepth
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.reshape import Reshape
from cnnc.ops.spec import Operator
from tests.ops.cases import CASES, Case, Real
from tests.ops.onnx_model import run_onnx

MOVING = [
    case
    for case in CASES
    if isinstance(case.op, Slice | Pad | Transpose | DepthToSpace | SpaceToDepth | Reshape)
]
FAR = 2**40


def integers(values: Sequence[int]) -> NDArray[np.int64]:
    """An operand of ONNX that is a list of integers."""
    return np.array(values, np.int64)


def run(case: Case) -> Real | None:
    """What ONNX Runtime makes of the case; None where ONNX has nothing of the kind."""
    (x,) = case.operands
    match case.op:
        case Slice(axis=axes) as op:
            count = len(axes)
            steps, begins, ends = ((each * count)[:count] for each in (op.step, op.begin, op.end))
            # ONNX clamps what lies far outside, and has no other word for an open end.
            starts = (0 if step > 0 else FAR for step in steps)
            stops = (FAR if step > 0 else -FAR for step in steps)
            first = [far if b is None else b for b, far in zip(begins, starts, strict=True)]
            last = [far if e is None else e for e, far in zip(ends, stops, strict=True)]
            return run_onnx("Slice", [x], {}, [*map(integers, (first, last, axes, steps))])
        case Pad(mode=mode) as op:
            ends = op.ends(case.types[0])
            pads = integers([0, 0, *(e[0] for e in ends), 0, 0, *(e[1] for e in ends)])
            fill = np.array(mode.value, np.float32)
            return run_onnx("Pad", [x], {"mode": mode.name}, [pads, fill])
        case Transpose(order=order):
            return run_onnx("Transpose", [x], {"perm": order})
        case Reshape(shape=shape):
            return run_onnx("Reshape", [x], {}, [integers(shape)])
        case DepthToSpace(block=(b,), mode=mode) if x.ndim == 4:
            return run_onnx("DepthToSpace", [x], {"blocksize": b, "mode": mode.upper()})
        case SpaceToDepth(block=(b,), mode="dcr") if x.ndim == 4:
            return run_onnx("SpaceToDepth", [x], {"blocksize": b})
    return None


PAIRS = [(case, y) for case in MOVING if (y := run(case)) is not None]


@pytest.mark.parametrize(("case", "expected"), PAIRS, ids=[str(case) for case, _ in PAIRS])
def test_elements_go_where_onnx_runtime_moves_them(case: Case, expected: Real) -> None:
    np.testing.assert_array_equal(case.op.reference(*case.operands), expected)


def test_every_moving_operator_is_compared() -> None:
    kinds = {type(case.op) for case, _ in PAIRS}
    assert kinds == {Slice, Pad, Transpose, DepthToSpace, SpaceToDepth, Reshape}


@pytest.mark.parametrize("extent", [1, 2, 5])
@pytest.mark.parametrize("step", [1, 2, -1, -2])
def test_every_slice_of_a_short_axis(extent: int, step: int) -> None:
    """All begins and ends, far outside too: what is left, and that nothing is left."""
    x = np.arange(float(extent)).reshape(1, extent)
    bounds = [None, *range(-extent - 2, extent + 3)]
    for begin in bounds:
        for end in bounds:
            expected = x[:, begin:end:step]
            op = Slice((1,), (begin,), (end,), (step,))
            if expected.size:
                np.testing.assert_array_equal(op.reference(x), expected)
            else:
                with pytest.raises(Exception, match="the slice is empty"):
                    op.infer(TensorType.plain(x.shape))


@pytest.mark.parametrize("mode", ["dcr", "crd"])
@pytest.mark.parametrize("shape", [(1, 12, 3, 5), (2, 24, 1, 2, 3), (2, 4, 7)])
def test_there_and_back(mode: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    there: Operator = DepthToSpace((2,), mode)
    np.testing.assert_array_equal(SpaceToDepth((2,), mode).reference(there.reference(x)), x)
