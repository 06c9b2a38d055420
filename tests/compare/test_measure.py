"""Errors of arrays: sizes, places of NaN and infinity, the edge of overflow."""

import math

import numpy as np
import pytest

from cnnc.compare.measure import FLOOR, PART, Errors, measure

MAX = float(np.finfo(np.float32).max)


def single(got: float, exact: float, tolerance: float) -> Errors:
    """The errors of one element."""
    return measure(np.array([got], np.float32), np.array([exact]), np.array([tolerance]))


def test_the_worst_element_is_found() -> None:
    """By ratio to its own tolerance, not by size."""
    got = np.array([[1.0, 2.5], [3.0, 4.25]], np.float32)
    exact = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = measure(got, exact, np.array([[1.0, 1.0], [1.0, 0.1]]))
    assert found.index == (1, 1)
    assert found.ratio == pytest.approx(2.5)
    assert found.max_abs == 0.5
    assert found.max_rel == 0.25
    assert (found.got, found.expected) == (4.25, 4.0)
    assert not found.ok


def test_units_in_the_last_place() -> None:
    """One step of float32 away is one ULP, a quarter step a quarter."""
    step = float(np.spacing(np.float32(1.0)))
    assert single(1.0 + step, 1.0, 1).max_ulp == 1
    assert single(1.0, 1.0 + step / 4, 1).max_ulp == 0.25


@pytest.mark.parametrize(
    ("got", "exact", "ok"),
    [
        (math.nan, math.nan, True),
        (math.nan, 1.0, False),
        (1.0, math.nan, False),
        (math.inf, math.inf, True),
        (math.inf, -math.inf, False),
        (math.inf, 1.0, False),
        (1.0, math.inf, False),
        (math.inf, MAX, True),
        (math.inf, 1.00001 * MAX, True),
        (MAX, 1.00001 * MAX, True),
        (MAX, 2 * MAX, False),
        (-math.inf, MAX, False),
        (0.0, 2.0**-150, True),
        (2.0**-149, 0.0, True),
    ],
)
def test_what_is_not_finite_must_stand_where_it_should(got: float, exact: float, ok: bool) -> None:
    """Overflow may fall to either side only within the tolerance."""
    with np.errstate(over="ignore"):
        assert single(got, exact, 1e-4 * MAX if abs(exact) > 1e30 else 0.0).ok is ok


def test_small_numbers_have_a_floor() -> None:
    """Below the smallest normal number the tolerance does not vanish."""
    assert single(FLOOR / 2, 0.0, 0.0).ok
    assert not single(FLOOR * 2, 0.0, 0.0).ok


def test_elements_without_a_bound_are_counted() -> None:
    """They cannot be out of tolerance, and the report says how many there are."""
    got = np.array([1.0, 2.0], np.float32)
    found = measure(got, np.array([5.0, 2.0]), np.array([math.nan, 1.0]))
    assert found.ok
    assert found.unbounded == 1


def test_nothing_has_no_errors() -> None:
    """An empty array."""
    found = measure(np.empty((0, 3), np.float32), np.empty((0, 3)), np.empty((0, 3)))
    assert found.ok
    assert found.max_abs == 0


def test_the_worst_of_several() -> None:
    """Largest errors of all, the element of the largest ratio."""
    found = Errors.worst([single(1.5, 1.0, 1.0), single(2.25, 2.0, 0.1)])
    assert found.max_abs == 0.5
    assert found.expected == 2.0


def test_large_arrays_are_compared_as_a_whole() -> None:
    """Also by parts: the first of the worst elements, and what is misplaced in another part."""
    exact = np.ones((3, PART))
    got = exact.astype(np.float32)
    got[1, 7] = got[2, 5] = 1.5
    got[2, 6] = 0.75
    found = measure(got, exact, np.ones(()))
    assert (found.index, found.got, found.max_abs, found.ratio) == ((1, 7), 1.5, 0.5, 0.5)
    got[2, 8] = np.nan
    exact[2, 9] = 9.0
    found = measure(got, exact, np.where(exact == 9, np.inf, 1.0))
    assert (found.index, found.ratio, found.unbounded) == ((2, 8), np.inf, 1)
