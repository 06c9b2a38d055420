"""Whether contenders compute the same."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from peers.task import Array

TOLERANCE = 1e-3
"""Outputs agree if they differ by this much of the largest element of cnnc's, at most."""


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an npz file by name."""
    with np.load(path) as stored:
        return {name: stored[name] for name in stored}


def compare(wanted: Mapping[str, Array], found: Mapping[str, Array]) -> tuple[float, str | None]:
    """How far outputs differ, relative to the largest element; and why that is too far."""
    worst = 0.0
    for name, right in wanted.items():
        if name not in found:
            return worst, f"it has no output `{name}`"
        other = found[name]
        if other.shape != right.shape:
            return worst, f"`{name}` is {list(other.shape)}, not {list(right.shape)}"
        largest = float(np.abs(right).max(initial=0.0)) or 1.0
        apart = float(np.abs(other.astype(np.float64) - right).max(initial=0.0)) / largest
        worst = max(worst, apart)
        if not apart <= TOLERANCE:
            return worst, f"its `{name}` differs from cnnc's by {apart:.1g} of the largest element"
    return worst, None
