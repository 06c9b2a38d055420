"""Error bounds of casts."""

import numpy as np
import pytest

from cnnc.base.dtype import DType
from cnnc.ops.cast import Cast, convert


@pytest.mark.parametrize(("source", "target"), [("i64", "u8"), ("i32", "u8"), ("i64", "i32")])
def test_an_error_may_carry_an_integer_around(source: str, target: str) -> None:
    op, error = Cast(DType(target)), 20.0
    limits = np.iinfo(DType(target).numpy.str)
    centres = np.array([3, 100, limits.max - 5, limits.max + 7, -3, -1000])
    x = centres.astype(DType(source).numpy)
    out = op.reference(x)
    bound = op.error(2.0**-24, out, [x], [np.full(x.shape, error)])
    for moved in range(-20, 21):
        there = convert(x + x.dtype.type(moved), op.dtype)
        assert (np.abs(there.astype(np.float64) - out.astype(np.float64)) <= bound).all()
    assert bound[1] == error


def test_integers_that_fit_keep_their_error() -> None:
    x = np.array([0, 255], np.uint8)
    op = Cast(DType.I32)
    assert (op.error(2.0**-24, op.reference(x), [x], [np.full(2, 3.0)]) == 3).all()
