"""Errors of Strassen's algorithm over those of summing products one by one; see docs/numerics.md.

`python -m tests.backends.strassen_errors` prints root mean squares for several numbers of channels.
"""

import numpy as np

from cnnc.backends.native.targets import named_target
from cnnc.ops.conv import Conv
from cnnc.ops.strassen import Strassen, combine_weights
from tests.backends.compilers import NATIVE
from tests.backends.support import run, single


def error_ratio(channels: int) -> float:
    """Root mean square error over that of the convolution, of normal values on a map of 14 × 14."""
    target = named_target("native")
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((1, channels, 14, 14)).astype(np.float32)
    weight = rng.standard_normal((64, channels, 1, 1)).astype(np.float32)
    conv = Conv(64, (1,), bias=False)
    exact = conv.reference(x.astype(np.float64), weight.astype(np.float64))
    fast = Strassen(64, False, 14, target.vector_bits // 32, (2, 7))
    combined = combine_weights(weight.astype(np.float64)).astype(np.float32)
    found = [
        run(single(op, [x], [weights]), [x], NATIVE, target)[0]
        for op, weights in ((conv, weight), (fast, combined))
    ]
    direct, other = (float(np.sqrt(np.mean((each - exact) ** 2))) for each in found)
    assert direct > 0
    return other / direct


def main() -> None:
    """Print the ratios."""
    for channels in (64, 256, 1024):
        print(f"{channels} channels: {error_ratio(channels):.1f}")


if __name__ == "__main__":
    main()
