"""Spearman's rank correlation against values by hand."""

import pytest

from cnnc.tuning.ranks import rank_correlation


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [10, 20, 90], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 1, 2], [5, 5, 7], 1.0),
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.9486832980505138),
        ([1, 2], [1, 2], None),
        ([1, 1, 1], [1, 2, 3], None),
        ([], [], None),
    ],
)
def test_values(first: list[float], second: list[float], expected: float | None) -> None:
    """Only the order counts; equal numbers share their place."""
    found = rank_correlation(first, second)
    assert found == (None if expected is None else pytest.approx(expected))
