"""Errors of Winograd's algorithm over those of summing products one by one; see docs/numerics.md.

`python -m tests.backends.winograd_errors` prints root mean squares for several numbers of channels.
"""

import numpy as np

from cnnc.backends.native.targets import named_target
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.cook_toom import PAIRS, transform_weights
from cnnc.ops.winograd import Winograd
from tests.backends.compilers import NATIVE
from tests.backends.support import run, single


def error_ratio(results: int, channels: int) -> float:
    """Root mean square error of F(results, 3) over that of the convolution, on normal values."""
    target = named_target("native")
    rng = np.random.default_rng(results)
    x = rng.standard_normal((1, channels, 24, 24)).astype(np.float32)
    weight = rng.standard_normal((64, channels, 3, 3)).astype(np.float32)
    conv = Conv(64, (3,), pad=Padding("same"), bias=False)
    exact = conv.reference(x.astype(np.float64), weight.astype(np.float64))
    lanes = target.vector_bits // 32
    fast = Winograd(results, 64, ((1, 1), (1, 1)), False, 2, lanes, 6)
    transformed = transform_weights(weight.astype(np.float64), results).astype(np.float32)
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
        ratios = [f"F({results}, 3) {error_ratio(results, channels):.1f}" for results in PAIRS]
        print(f"{channels} channels: {', '.join(ratios)}")


if __name__ == "__main__":
    main()
