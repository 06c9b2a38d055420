"""Errors of Winograd's algorithm over those of summing products one by one; see docs/numerics.md.

`python -m tests.backends.winograd_errors` prints root mean squares for several numbers of channels.
"""

import numpy as np

from cnnc.backends.native.targets import named_target
from cnnc.ops.conv import Conv
from cnnc.ops.cook_toom import PAIRS, transform_weights
from cnnc.ops.winograd import Winograd
from cnnc.ops.winograd_tiles import Side
from tests.backends.compilers import NATIVE
from tests.backends.support import run, single


def error_ratio(points: int, taps: int, channels: int, results: int = 0) -> float:
    """Root mean square error with windows of taps × taps over that of the convolution.

    Of normal values, with tiles of so many points on each axis: those of a map of 24 × 24, or of
    maps that have so many results on each axis.
    """
    target = named_target("native")
    rng = np.random.default_rng(points)
    extent, samples = (results + taps - 1, 32) if results else (24, 1)
    x = rng.standard_normal((samples, channels, extent, extent)).astype(np.float32)
    weight = rng.standard_normal((64, channels, taps, taps)).astype(np.float32)
    conv = Conv(64, (taps,), bias=False)
    exact = conv.reference(x.astype(np.float64), weight.astype(np.float64))
    lanes = target.vector_bits // 32
    none = ((0, 0), (0, 0))
    side = Side(taps, 1, 1, 1, points)
    rows, columns = (1, 1) if results else (2, 6)
    fast = Winograd(64, (side, side), none, False, rows, lanes, columns)
    transformed = transform_weights(weight.astype(np.float64), fast.tile, fast.phases).astype(
        np.float32
    )
    found = [
        run(single(op, [x], [weights]), [x], NATIVE, target)[0]
        for op, weights in ((conv, weight), (fast, transformed))
    ]
    direct, other = (float(np.sqrt(np.mean((each - exact) ** 2))) for each in found)
    assert direct > 0
    return other / direct


def main() -> None:
    """Print the table."""
    for channels in (16, 64, 256):
        ratios = [
            f"F({points - taps + 1}, {taps}) {error_ratio(points, taps, channels):.1f}"
            for points in PAIRS
            for taps in range(2, 6)
            if points > taps
        ]
        print(f"{channels} channels: {', '.join(ratios)}")


if __name__ == "__main__":
    main()
