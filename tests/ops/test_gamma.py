"""The bound for roundings in sequence."""

import numpy as np
import pytest

from cnnc.ops.spec import gamma

UNIT = 2.0**-24


def test_it_is_certain_for_few_terms_and_grows_with_the_root_for_many() -> None:
    assert gamma(1, UNIT) == pytest.approx(UNIT)
    assert gamma(63, UNIT) == pytest.approx(63 * UNIT, rel=1e-5)
    assert gamma(64, UNIT) < 64 * UNIT / (1 - 64 * UNIT)
    assert gamma(10000, UNIT) == pytest.approx(800 * UNIT, rel=1e-3)
    assert gamma(100, 0.0) == 0


@pytest.mark.parametrize("terms", [10, 1000, 100000])
def test_sums_in_float32_stay_within_it(terms: int) -> None:
    rng = np.random.default_rng(terms)
    for _ in range(20):
        values = rng.normal(size=terms).astype(np.float32)
        total = np.cumsum(values, dtype=np.float32)[-1]  # one after the other, never pairwise
        exact, size = values.astype(np.float64).sum(), np.abs(values).astype(np.float64).sum()
        assert abs(total - exact) <= gamma(terms, UNIT) * size
