"""Softmax where exp alone would overflow or fail."""

import numpy as np

from cnnc.ops.softmax import Softmax
from tests.ops.evaluate_loops import run_loops


def test_a_line_of_large_values_does_not_overflow() -> None:
    x = np.array([[1e4, 1e4 - 1, -np.inf, 3e38]]).astype(np.float32)
    value = run_loops(Softmax(), [x])
    np.testing.assert_array_equal(value, [[0, 0, 0, 1]])
    shifted = run_loops(Softmax(), [x[:, :3]])
    np.testing.assert_allclose(shifted, [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0]], rtol=1e-6)
    for hostile in (np.nan, np.inf):
        spoiled = run_loops(Softmax(), [np.array([[0, hostile], [0, 1]], np.float32)])
        assert np.array_equal(np.isnan(spoiled), [[True, True], [False, False]])
