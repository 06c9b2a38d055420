"""Networks whose tensors lie inside others: no copies, and the same results."""

import numpy as np
import pytest

import cnnc
from cnnc.ir.evaluate import evaluate
from cnnc.ops.concat import Concat
from cnnc.ops.fused import Fused
from cnnc.ops.movement.slice import Slice
from cnnc.ops.repack import Repack
from cnnc.ops.view import View
from tests.backends.guarded import check_network

pytestmark = pytest.mark.usefixtures("code_is_kept")

NET = """cnn 1
block layer { concat { id | batchnorm -> relu -> conv(16, 3, pad = 1) } }
block shuffle(groups) {
  reshape([0, groups, in.channels // groups, in.height, in.width])
    -> transpose([0, 2, 1, 3, 4])
    -> reshape(in.shape)
}
net n {
  input x: f32[N, 3, 8, 7]
  a = x -> conv(16, 3, pad = 1) -> relu
  grown = a -> repeat(3) { layer }
  kept, changed = grown -> split([16, 48])
  low, high = (kept -> relu) -> split(2)
  joined = concat { kept | changed -> conv(32, 3, pad = same) | x } -> conv(6, 3, pad = 2)
  wide = concat { joined | a -> pad(1) } -> shuffle(2) -> conv(20, [1, 3], pad = same)
  output y = wide -> pool(avg, 2) -> flatten -> dense(7)
  output z = concat { low | high | low + high } -> relu -> softmax
  weights he(seed = 5)
}
"""


@pytest.mark.parametrize("target", ["native", "x86-64"])
@pytest.mark.parametrize("batch", ["1", "3", "1..5"])
def test_results_are_those_of_the_reference(batch: str, target: str) -> None:
    """Halos, growing concats, splits and shuffles, for any number of samples."""
    model = cnnc.load_text(NET, batch=batch if ".." in batch else int(batch))
    net, reference = (
        model.compile(backend=each, target=target) for each in ("native", "reference")
    )
    assert cnnc.diff(net).ok
    for samples in (1, 2, 5):
        x = np.random.default_rng(samples).standard_normal((samples, 3, 8, 7), np.float32)
        found, expected = net(x), reference(x)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_nothing_outside_the_arena_is_touched(batch: int) -> None:
    """Layer by layer and whole, in memory between guarded pages."""
    check_network(cnnc.load_text(NET, batch=batch).graph, "x86-64-v3", 0)


def test_the_interpreter_agrees() -> None:
    """The same plan of memory, run in Python."""
    model = cnnc.load_text(NET, batch=2)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 7), np.float32)
    found, expected = model.compile(backend="interp")(x), evaluate(model.graph, {"x": x})
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)


def steps_of(text: str, batch: int = 1) -> list[object]:
    """The operators that have kernels."""
    head = "cnn 1\nnet n {\n  input x: f32[N, 32, 8, 8]\n"
    net = cnnc.load_text(f"{head}{text}  weights he\n}}\n", batch=batch).compile()
    ops = [layer.node.op for layer in net.lowered.layers]
    assert not any(isinstance(op, View) for op in ops)
    return [op.root if isinstance(op, Fused) else op for op in ops]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_growing_concat_copies_nothing(batch: int) -> None:
    """Each tensor is written once, where the last concat will be."""
    layers = "".join(
        f"  x{n + 1} = concat {{ x{n} | x{n} -> conv(16, 3, pad = 1) }}\n" for n in range(4)
    )
    text = f"  x0 = x -> conv(16, 1)\n{layers}  output y = x4 -> conv(16, 1)\n"
    ops = steps_of(text, batch)
    assert not [op for op in ops if isinstance(op, Concat)]
    assert len([op for op in ops if isinstance(op, Repack)]) == 2  # input and output


@pytest.mark.parametrize("batch", [1, 4])
def test_branches_are_split_and_joined_in_place(batch: int) -> None:
    """Blocks of channels are read and written where they lie."""
    text = """
  a, b = x -> conv(64, 3) -> split(2)
  output y = concat { b -> conv(32, 3, pad = 1) | a -> conv(32, 1) } -> conv(16, 1)
"""
    ops = steps_of(text, batch)
    assert not [op for op in ops if isinstance(op, Concat | Slice)]


def test_in_place_additions_stay() -> None:
    """A part of a concat may still take over its operand's memory."""
    text = """
  a = x -> conv(32, 1)
  b = a -> conv(32, 1) -> conv(32, 1)
  c = a + b
  output y = concat { c | c -> conv(32, 1) } -> conv(16, 1)
"""
    head = "cnn 1\nnet n {\n  input x: f32[N, 32, 64, 64]\n"
    program = cnnc.load_text(f"{head}{text}  weights he\n}}\n").compile().lowered.program
    assert program.arena_bytes <= 3 * 32 * 64 * 64 * 4
