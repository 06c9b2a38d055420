"""Calling a compiled network: arrays in, arrays out, from one thread or several."""

import pickle
import subprocess
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnc
from tests.api.nets import ONE

F32 = NDArray[np.float32]
ROOT = Path(__file__).resolve().parents[2]

TWO = """cnn 1
net two {
  input a: f32[N, 4]
  input b: f32[N, 4]
  output y = a + b
  output d = a - b
}
"""
MIXED = """cnn 1
net mixed {
  input x: f32[N, 4]
  output y = x -> reshape([2, -1])
}
"""


@pytest.fixture(scope="module")
def one() -> cnnc.Compiled:
    """A network of one input, compiled for batches of four."""
    return cnnc.load_text(ONE, batch=4).compile()


@pytest.fixture(scope="module")
def two() -> cnnc.Compiled:
    """A network of two inputs."""
    return cnnc.load_text(TWO).compile()


def images(count: int) -> F32:
    """Normally distributed samples for `one`."""
    return np.random.default_rng(count).standard_normal((count, 3, 6, 5)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_any_number_of_samples(one: cnnc.Compiled, count: int) -> None:
    """Full batches and a remainder give what each sample gives alone."""
    x = images(count)
    results = one(x)
    expected = cnnc.load_text(ONE).compile(backend="reference")(x)
    assert list(results) == ["y", "h2"]
    assert results["y"].shape == (count, 4)
    assert results["h2"].shape == (count, 8, 6, 5)
    assert results["y"].dtype == np.float32
    np.testing.assert_allclose(results["y"], expected["y"], atol=1e-5)
    np.testing.assert_allclose(results["h2"], expected["h2"], atol=1e-5)


def test_a_sample_does_not_depend_on_its_batch(one: cnnc.Compiled) -> None:
    """Bit for bit, wherever it stands and whatever stands beside it."""
    x = images(7)
    together = one(x)["y"]
    for place in range(7):
        np.testing.assert_array_equal(one(x[place : place + 1])["y"][0], together[place])


def test_inputs_by_name_mapping_or_alone(two: cnnc.Compiled, one: cnnc.Compiled) -> None:
    """The only input needs no name; several do."""
    a, b = np.ones((2, 4), np.float32), np.full((2, 4), 3, np.float32)
    by_name, by_mapping = two(a=a, b=b), two({"a": a, "b": b})
    for results in (by_name, by_mapping, two({"b": b}, a=a), two({"a": a, "b": b}, out={})):
        np.testing.assert_array_equal(results["y"], a + b)
        np.testing.assert_array_equal(results["d"], a - b)
    x = images(2)
    np.testing.assert_array_equal(one(x)["y"], one(x=x)["y"])


@pytest.mark.parametrize(
    ("given", "code", "part"),
    [
        ({}, "E0603", "missing"),
        ({"x": 1, "z": 2}, "E0603", "no input `z`"),
        ({1: 2}, "E0603", "no input `1`"),
        ({"x": np.zeros((2, 3, 6, 4), np.float32)}, "E0601", "expected N×3×6×5"),
        ({"x": np.zeros((3, 6, 5), np.float32)}, "E0601", "x[None]"),
        ({"x": np.zeros((2, 3, 6, 5))}, "E0602", "astype('float32')"),
        ({"x": np.zeros((2, 3, 6, 5), np.int64)}, "E0602", "int64"),
        ({"x": np.zeros((2, 3, 6, 5), np.complex64)}, "E0602", "complex64"),
        ({"x": [[["a"]]]}, "E0602", "<U1"),
        ({"x": [[1, 2], [3]]}, "E0602", "no array"),
        ({"x": object()}, "E0602", "object"),
        ({"x": np.ma.masked_array(np.zeros((1, 3, 6, 5), np.float32))}, "E0602", "masked"),
    ],
)
def test_what_does_not_fit_is_refused(
    one: cnnc.Compiled, given: dict[str, object], code: str, part: str
) -> None:
    """As a user's error that says what is expected."""
    with pytest.raises(cnnc.UserError) as caught:
        one(given)  # type: ignore[arg-type]
    texts = [f"{each} {each.help}" for each in caught.value.diagnostics]
    assert any(code in text and part in text for text in texts), texts


def test_all_mistakes_at_once(two: cnnc.Compiled) -> None:
    """Both inputs are wrong, in different ways."""
    with pytest.raises(cnnc.UserError) as caught:
        two(a=np.zeros((2, 5), np.float32), b=np.zeros((2, 4)))
    assert [each.code for each in caught.value.diagnostics] == ["E0601", "E0602"]
    with pytest.raises(cnnc.UserError, match="`a` 2, `b` 3"):
        two(a=np.zeros((2, 4), np.float32), b=np.zeros((3, 4), np.float32))
    with pytest.raises(cnnc.UserError, match="without a name"):
        two(np.zeros((2, 4), np.float32))
    with pytest.raises(cnnc.UserError, match="given twice"):
        two({"a": np.zeros((2, 4), np.float32)}, a=np.zeros((2, 4), np.float32))


def test_a_mistake_tells_how_to_fix_it(one: cnnc.Compiled, two: cnnc.Compiled) -> None:
    """A traceback shows the exception's text only, so help and notes are part of it."""
    with pytest.raises(cnnc.UserError, match=r"help: convert it with `\.astype"):
        one(images(2).astype(np.float64))
    with pytest.raises(cnnc.UserError, match=r"help: channels come first: `np\.moveaxis"):
        one(np.moveaxis(images(2), 1, -1))
    with pytest.raises(cnnc.UserError, match="note: it is f32 N×4"):
        two(a=np.zeros((2, 4), np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int8, np.bool_, ">f4"])
def test_types_are_widened(one: cnnc.Compiled, dtype: str) -> None:
    """What float32 holds exactly is converted."""
    x = (np.arange(180).reshape(2, 3, 6, 5) % 7).astype(dtype)
    np.testing.assert_array_equal(one(x)["y"], one(x.astype(np.float32))["y"])


def test_memory_in_any_order(one: cnnc.Compiled) -> None:
    """Views, transposed and read-only arrays, arrays off their alignment."""
    x = images(8)
    expected = one(x)["y"]
    backwards = np.ascontiguousarray(x[::-1])[::-1]
    columns = np.asfortranarray(x)
    octets = np.zeros(x.nbytes + 1, np.uint8)
    shifted = octets[1:].view(np.float32).reshape(x.shape)
    shifted[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for array in (backwards, columns, shifted, frozen):
        np.testing.assert_array_equal(one(array)["y"], expected)


def test_results_can_be_written_in_place(one: cnnc.Compiled) -> None:
    """`out` arrays are returned as they are; unmentioned outputs are new."""
    x = images(6)
    y = np.full((6, 4), np.nan, np.float32)
    results = one(x, out={"y": y})
    assert results["y"] is y
    np.testing.assert_array_equal(y, one(x)["y"])


@pytest.mark.parametrize(
    ("out", "part"),
    [
        ({"q": np.zeros((6, 4), np.float32)}, "no output `q`"),
        ({0: np.zeros((6, 4), np.float32)}, "no output `0`"),
        ({"y": np.zeros((5, 4), np.float32)}, "has shape"),
        ({"y": np.zeros((6, 4))}, "float64"),
        ({"y": [0]}, "list"),
        ({"y": np.zeros((6, 8), np.float32)[:, ::2]}, "contiguous"),
    ],
)
def test_out_is_checked(one: cnnc.Compiled, out: dict[str, NDArray[np.generic]], part: str) -> None:
    """Shape, type and memory must be those of the output."""
    with pytest.raises(cnnc.UserError, match=part):
        one(images(6), out=out)


def test_out_may_not_lie_in_an_input(two: cnnc.Compiled) -> None:
    """Outputs are written while inputs are still read."""
    a = np.zeros((1, 4), np.float32)
    with pytest.raises(cnnc.UserError, match="memory of an input"):
        two(a=a, b=a, out={"y": a})
    y = np.zeros((1, 4), np.float32)
    with pytest.raises(cnnc.UserError, match="another output"):
        two(a=a, b=a, out={"y": y, "d": y})
    with pytest.raises(cnnc.UserError, match="expected a mapping"):
        two(a=a, b=a, out=y)  # type: ignore[arg-type]


def test_out_in_parts_of_one_memory(two: cnnc.Compiled) -> None:
    """Results may lie side by side, but not overlap each other or an input, whoever owns it."""
    memory = np.zeros(14, np.float32)
    a, y, d = memory[:4].reshape(1, 4), memory[4:8].reshape(1, 4), memory[10:].reshape(1, 4)
    a[...] = 3
    two(a=a, b=np.ones((1, 4), np.float32), out={"y": y, "d": d})
    np.testing.assert_array_equal(memory, [3] * 4 + [4] * 4 + [0] * 2 + [2] * 4)
    with pytest.raises(cnnc.UserError, match="memory of an input"):
        two(a=a, b=a, out={"y": memory[2:6].reshape(1, 4)})
    with pytest.raises(cnnc.UserError, match="another output"):
        two(a=a.copy(), b=a.copy(), out={"y": memory[2:6].reshape(1, 4), "d": y})


@pytest.mark.parametrize("wrap", [dict, MappingProxyType, OrderedDict])
def test_any_mapping_will_do(
    two: cnnc.Compiled, wrap: Callable[[dict[str, F32]], Mapping[str, F32]]
) -> None:
    """For the inputs and for `out`, which may name some of the outputs in any order."""
    a, b = np.ones((2, 4), np.float32), np.full((2, 4), 3, np.float32)
    y, d = np.empty_like(a), np.empty_like(a)
    for out in ({}, {"d": d}, {"d": d, "y": y}):
        results = two(wrap({"b": b, "a": a}), out=wrap(out))
        assert list(results) == ["y", "d"]
        assert all(results[name] is array for name, array in out.items())
        np.testing.assert_array_equal(results["y"], a + b)
        np.testing.assert_array_equal(results["d"], a - b)
    with pytest.raises(cnnc.UserError, match="no memory to write to"):
        two(a=a, b=b, out=wrap({"y": None}))  # type: ignore[dict-item]


def test_calls_keep_no_arrays(one: cnnc.Compiled) -> None:
    """Neither what was given nor what was returned is held by the network."""
    x = images(4)
    results = one(x)
    kept = [weakref.ref(array) for array in (x, *results.values())]
    del x, results
    assert [each() for each in kept] == [None] * 3


def test_samples_that_depend_on_each_other() -> None:
    """Only the compiled batch can run, and the message says so."""
    network = cnnc.load_text(MIXED, batch=3).compile()
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(network(x)["y"], x.reshape(2, 6))
    with pytest.raises(cnnc.UserError) as caught:
        network(x[:2])
    assert "not independent" in caught.value.diagnostics[0].notes[0]
    assert caught.value.diagnostics[0].help == "compile for a batch of 2"


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_from_several_threads(threads: int) -> None:
    """Each call has memory of its own, and the results are those of one thread."""
    network = cnnc.load_text(ONE, batch=2).compile(threads=threads)
    inputs = [images(count) for count in range(1, 9)]
    expected = [network(x)["y"] for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, wanted in zip(pool.map(network, inputs), expected, strict=True):
                np.testing.assert_array_equal(got["y"], wanted)


@pytest.mark.parametrize("backend", ["native", "interp", "reference"])
def test_it_pickles(backend: str) -> None:
    """A copy computes the same bits."""
    network = cnnc.load_text(ONE).compile(backend=backend)
    copy = pickle.loads(pickle.dumps(network))
    x = images(1)
    np.testing.assert_array_equal(copy(x)["y"], network(x)["y"])
    assert copy.options == network.options


def test_layers_of_a_compiled_network(one: cnnc.Compiled) -> None:
    """Fused layers with layouts, tiles and bytes."""
    convolution = one.layers[1]
    assert convolution.op.startswith("conv(channels=8")
    assert convolution.op.endswith("+ relu")
    assert convolution.algorithm
    assert convolution.parameters == 8 * 3 * 9 + 8
    assert convolution.macs == 4 * 8 * 6 * 5 * 27
    assert "conv(channels=8" in str(one.layers)


def test_weights_that_are_transformed_are_counted_as_they_were_trained() -> None:
    """Winograd's weights are four times as large, Strassen's 1.75 times."""
    layers = ["conv(512, 1)", "conv(64, 3, pad = same)"]
    body = " -> ".join(["x", *layers, "conv_transpose(32, 4, stride = 2, bias = false)"])
    model = cnnc.load_text(
        f"cnn 1\nnet n {{\n  input x: f32[N, 512, 14, 28]\n  output y = {body}\n  weights he\n}}\n"
    )
    found = model.compile(target="x86-64-v3").layers
    algorithms = " ".join(layer.algorithm for layer in found)
    assert "F(" in algorithms
    assert "7 products" in algorithms
    assert sum(layer.weight_bytes for layer in found) > 4 * model.parameters
    assert found.parameters == model.parameters


def test_the_reference_has_no_program() -> None:
    """Asking for it is a user's error; its layers are the text's."""
    network = cnnc.load_text(TWO).compile(backend="reference")
    assert [layer.op for layer in network.layers] == ["add", "sub"]
    with pytest.raises(cnnc.UserError, match="E0801"):
        _ = network.lowered


def test_arrays_of_other_libraries(one: cnnc.Compiled) -> None:
    """Whatever converts itself to a NumPy array."""

    class Tensor:
        def __array__(self, dtype: object = None, copy: object = None) -> F32:
            return images(2)

    np.testing.assert_array_equal(one(Tensor())["y"], one(images(2))["y"])  # type: ignore[arg-type]


def test_networks_in_reference_cycles_are_freed() -> None:
    """The collector may free the parts of a network in any order; LLVM must survive it."""
    code = """
import gc, cnnc
class Owner: pass
text = "cnn 1\\nnet n {\\ninput x: f32[N, 3, 4]\\noutput y = x -> relu\\n}"
for _ in range(5):
    owner = Owner()
    owner.itself = owner
    owner.network = cnnc.load_text(text).compile()
    del owner
    gc.collect()
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr
