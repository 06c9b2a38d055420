"""Classify the held-out handwritten digits with natively compiled digits.cnn.

Usage:

    python examples/digits/run.py [--threads 1]

Prints some images with their predictions, the accuracy over all 360 held-out images, the median
latency of one image, and the layer-by-layer comparison with the NumPy reference. Exits 1 when
that comparison finds a layer out of tolerance.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cnnc

HERE = Path(__file__).parent
SHADES = " ░▒▓█"
SHOWN = 6
DIFF_IMAGES = 8
CALLS = 500


def drawn(image: NDArray[np.float32]) -> list[str]:
    """The eight lines of an image (8, 8) in 0..1, two characters a pixel."""
    levels = np.rint(image * (len(SHADES) - 1)).astype(int)
    return ["".join(SHADES[level] * 2 for level in row) for row in levels]


def show(images: NDArray[np.float32], prob: NDArray[np.float32], label: NDArray[np.int64]) -> None:
    """Print images (n, 1, 8, 8) side by side above what the network says of them."""
    captions = [
        f"{p.argmax()} ({p.max():.0%})" + ("" if p.argmax() == y else f", is {y}")
        for p, y in zip(prob, label, strict=True)
    ]
    for line in zip(*(drawn(image[0]) for image in images), strict=True):
        print("  ".join(line))
    print("  ".join(f"{caption:^16}" for caption in captions))


def median_seconds(call: Callable[[], object]) -> float:
    """The median duration of a call, warmed up."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run digits.cnn on the held-out digits.")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with np.load(HERE / "digits_heldout.npz") as held_out:
        images, label = held_out["image"], held_out["label"]

    net = cnnc.load(HERE / "digits.cnn").compile(threads=options.threads)
    prob = net(images)["prob"]
    right = prob.argmax(axis=1) == label
    wrong = np.flatnonzero(~right)[: SHOWN // 2]
    shown = np.concatenate([np.flatnonzero(right)[: SHOWN - len(wrong)], wrong])
    show(images[shown], prob[shown], label[shown])

    print(f"\naccuracy {right.mean():.2%} ({right.sum()} of {len(label)} held-out images)")
    seconds = median_seconds(lambda: net(images[:1]))
    print(f"latency  {seconds * 1e6:.1f} µs per image (median of {CALLS} calls)\n")

    report = cnnc.diff(net, {"image": images[:DIFF_IMAGES]})
    print(report.format())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
