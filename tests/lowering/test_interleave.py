"""Elementary functions of several vectors side by side."""

import re

import numpy as np
import pytest

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.loop.kernel import Kernel
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.loop.verify import verify_kernel
from cnnc.lowering.interleave import AT_ONCE
from cnnc.lowering.lower import flatten_kernel


def kernel(loops: str, extent: int) -> Kernel:
    """silu of so many numbers, in the innermost of these loops."""
    text = f"kernel k {{\n  in x: f32[{extent}]\n  out y: f32[{extent}]\n  {loops}\n}}"
    return parse_kernel(text)


BODY = "let t = x[{at}] * 2.0 y[{at}] = silu(t)"
LOOPS = {
    "long": ("for a in 10 { for v in 8 vector { %s } }", "a * 8 + v", 80, [4, 2]),
    "short": ("for a in 3 { for v in 8 vector { %s } }", "a * 8 + v", 24, [3]),
    "of a short one": (
        "for a in 5 { for b in 2 { for v in 4 vector { %s } } }",
        "a * 8 + b * 4 + v",
        40,
        [4, 2],
    ),
    "of a long one": (
        "for a in 2 { for b in 5 { for v in 4 vector { %s } } }",
        "a * 20 + b * 4 + v",
        40,
        [4, 1],
    ),
    "shared": ("for a in 6 parallel { for v in 4 vector { %s } }", "a * 4 + v", 24, [3]),
    "shared, of a prime": (
        "for a in 7 parallel { for v in 4 vector { %s } }",
        "a * 4 + v",
        28,
        [1],
    ),
    "handed out": ("for a in 8 parallel by 2 { for v in 4 vector { %s } }", "a * 4 + v", 32, [1]),
    "of numbers": ("for a in 8 { %s }", "a", 8, [1]),
}
"""Loops, the index, how many numbers, and how many stand side by side, one after the other."""


@pytest.mark.parametrize("name", LOOPS)
def test_so_many_at_once(name: str) -> None:
    loops, index, extent, groups = LOOPS[name]
    made = kernel(loops % BODY.format(at=index), extent)
    flat = flatten_kernel(made)
    verify_kernel(flat)
    stores = [re.findall(r"^ *y\[", block, re.M) for block in _blocks(print_kernel(flat))]
    assert [len(each) for each in stores if each] == groups
    assert max(groups) <= AT_ONCE
    x = np.linspace(-9, 9, extent, dtype=np.float32)
    y = np.zeros(extent, np.float32)
    run_kernel(flat, [x, y])
    twice = 2 * x.astype(np.float64)
    np.testing.assert_allclose(y, twice / (1 + np.exp(-twice)), rtol=1e-6)


def _blocks(text: str) -> list[str]:
    """Runs of statements without the begin or end of a loop between them."""
    return re.split(r"^.*[{}]\n", text, flags=re.M)
