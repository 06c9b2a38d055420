"""How well one list of numbers ranks another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FEWEST = 3
"""Pairs that a rank correlation takes at least."""


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, from -1 to 1; None for too few numbers, or equal ones only."""
    if len(first) < FEWEST:
        return None
    ranks = [_ranks(np.asarray(each, np.float64)) for each in (first, second)]
    a, b = (each - each.mean() for each in ranks)
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place of each in order; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = ends - (counts - 1) / 2
    return means[inverse]
