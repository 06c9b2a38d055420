"""Elementary functions of several vectors side by side."""

import re

import numpy as np
import pytest

import cnnc
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
    "shared": (
        "for b in 64 parallel { for a in 6 parallel { for v in 4 vector { %s } } }",
        "b * 24 + a * 4 + v",
        1536,
        [3],
    ),
    "shared, of a prime": (
        "for b in 64 parallel { for a in 7 parallel { for v in 4 vector { %s } } }",
        "b * 28 + a * 4 + v",
        1792,
        [1],
    ),
    "shared, of few": ("for a in 6 parallel { for v in 4 vector { %s } }", "a * 4 + v", 24, [1]),
    "handed out": (
        "for b in 64 parallel by 2 { for a in 8 parallel { for v in 4 vector { %s } } }",
        "b * 32 + a * 4 + v",
        2048,
        [1],
    ),
    "in turn": ("for a in 2 samples { for v in 4 vector { %s } }", "a * 4 + v", 8, [1]),
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


def test_what_bodies_share_keeps_them_apart() -> None:
    """All iterations write the same registers before they read them."""
    text = """kernel k {
      in x: f32[4, 8]
      out y: f32[4, 8]
      for n in 1 parallel {
        register acc: f32[8]
        for a in 4 {
          for v in 8 vector { acc[v] = exp(x[a, v]) }
          for v in 8 vector { y[a, v] = acc[v] * 2.0 }
        }
      }
    }"""
    flat = flatten_kernel(parse_kernel(text))
    x, y = np.linspace(-2, 2, 32, dtype=np.float32), np.zeros(32, np.float32)
    run_kernel(flat, [x, y])
    np.testing.assert_allclose(y, 2 * np.exp(x.astype(np.float64)), rtol=1e-6)


@pytest.mark.parametrize("target", ["x86-64-v3", "aarch64"])
def test_bodies_of_many_functions_stand_alone(target: str) -> None:
    """What Winograd's algorithm transforms has sixteen of them: code does not grow."""
    text = (
        "cnn 1\nnet n {\n  input x: f32[1, 64, 28, 28]\n  output y = x -> conv(64, 3, pad = same)"
    )
    stores = [
        max(
            len(re.findall(r"^ *y\[", block, re.M))
            for block in _blocks(_printed(text + tail, target))
        )
        for tail in (" -> relu\n  weights he\n}\n", " -> silu\n  weights he\n}\n")
    ]
    assert stores[0] == stores[1] > AT_ONCE


def _printed(text: str, target: str) -> str:
    layers = cnnc.load_text(text).compile(target, backend="interp").lowered.layers
    kernels = [layer.kernel for layer in layers]
    (kernel,) = [each for each in kernels if each.origin.algorithm.startswith("F(4, 3)")]
    return print_kernel(flatten_kernel(kernel))


def _blocks(text: str) -> list[str]:
    """Runs of statements without the begin or end of a loop between them."""
    return re.split(r"^.*[{}]\n", text, flags=re.M)
