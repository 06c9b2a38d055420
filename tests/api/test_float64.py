"""Networks of float64: in the text, from weights files, as machine code."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import cnnc
from cnnc.base.errors import UserError
from cnnc.compare.whole import expect

NET = """
cnn 1
net deep {
  input x: f64[N, 16, 12, 12]
  h = x -> conv(32, 3, pad = same) -> batchnorm -> relu -> conv(32, 3, pad = same) -> tanh
  g = (h * 0.1 + 1 / 3) -> pool(max, 2) -> conv_transpose(8, 3) -> prelu
  y = g -> flatten -> dense(10)
  output z = y -> softmax
  output single = y -> cast(f32)
  output back = y -> cast(f32) -> cast(f64)
  weights he
}
"""
NUMBERS = """
cnn 1
net numbers {
  input x: f64[N, 3]
  output y = 0.1 + x * 1e300
  output z = where(less(x, 0.1), 0.2, x)
}
"""
DENSE = """
cnn 1
net dense {
  input x: {type}[N, 3]
  output y = x -> dense(2)
  weights "weights.safetensors"
}
"""


def drawn(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers with all digits of float64."""
    return np.random.default_rng(4).normal(size=shape)


@pytest.mark.parametrize("backend", ["native", "c", "interp"])
def test_a_network_is_computed_in_float64(backend: str) -> None:
    model = cnnc.load_text(NET.replace("12, 12", "6, 6") if backend == "interp" else NET)
    x = drawn(model.inputs["x"])
    found, exact = model.compile(backend=backend)(x), model.reference(x=x)
    assert {name: str(each.dtype) for name, each in found.items()} == {
        "z": "float64", "single": "float32", "back": "float64",
    }  # fmt: skip
    np.testing.assert_allclose(found["z"], exact["z"], rtol=1e-13)
    np.testing.assert_allclose(found["single"], exact["single"], rtol=2e-7)
    np.testing.assert_array_equal(found["single"], found["back"])


def test_the_tolerance_of_a_network_is_that_of_float64() -> None:
    model = cnnc.load_text(NET)
    expected = expect(model.graph, {"x": drawn(model.inputs["x"])}, seed=0)
    assert expected.tolerances["z"].max() < 1e-12
    assert expected.tolerances["single"].max() > 1e-8


def test_winograds_algorithm_is_for_float32() -> None:
    def uses(text: str) -> bool:
        nodes = cnnc.load_text(text).compile(target="x86-64-v4", backend="interp").lowered.graph
        return any("winograd" in node.op.label for node in nodes.nodes if not node.is_leaf)

    text = NET.replace("12, 12", "32, 32").replace("16, 32", "64, 32")
    assert uses(text.replace("f64[N", "f32[N").replace("cast(f64)", "id"))
    assert not uses(text)


def test_numbers_beside_tensors_have_all_digits() -> None:
    x = np.array([[1.5, 0.1, 0.1 - 1e-16]])
    found = cnnc.load_text(NUMBERS).compile()(x)
    np.testing.assert_array_equal(found["y"], 0.1 + x * 1e300)
    np.testing.assert_array_equal(found["z"], np.where(x < 0.1, 0.2, x))


def test_float32_is_taken_for_float64_and_not_the_other_way() -> None:
    x = drawn((1, 3)).astype(np.float32)
    wide = cnnc.load_text(NUMBERS).compile()
    np.testing.assert_array_equal(wide(x)["y"], wide(x.astype(np.float64))["y"])
    narrow = cnnc.load_text(NUMBERS.replace("f64", "f32").replace("1e300", "2")).compile()
    with pytest.raises(UserError, match="float64"):
        narrow(drawn((1, 3)))


@pytest.mark.parametrize("rows", [2, 20000])
def test_weights_of_either_type(tmp_path: Path, rows: int) -> None:
    """Large ones stay in their file until they are needed."""
    text = DENSE.replace("dense(2)", f"dense({rows})")
    weight, bias = drawn((rows, 3)), drawn((rows,))
    x = drawn((4, 3))
    for kind in (np.float64, np.float32):
        arrays = {"y.weight": weight.astype(kind), "y.bias": bias.astype(kind)}
        save_file(arrays, tmp_path / "weights.safetensors")
        wide = {name: each.astype(np.float64) for name, each in arrays.items()}
        model = cnnc.load_text(text.replace("{type}", "f64"), folder=tmp_path)
        exact = x @ wide["y.weight"].T + wide["y.bias"]
        np.testing.assert_allclose(model.compile()(x)["y"], exact, rtol=1e-13, atol=1e-14)
    save_file({"y.weight": weight, "y.bias": bias}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="element type f64"):
        cnnc.load_text(text.replace("{type}", "f32"), folder=tmp_path)


def test_types_are_not_mixed_silently() -> None:
    text = "cnn 1\nnet a { input x: f64[N, 3]\ninput y: f32[N, 3]\noutput z = x + y }\n"
    with pytest.raises(UserError, match="f64 and f32"):
        cnnc.load_text(text)


def test_conversion_to_float32_rounds_in_the_reference_too() -> None:
    text = "cnn 1\nnet a { input x: f64[N, 3]\noutput z = (x -> cast(f32) -> cast(f64)) - x }\n"
    model = cnnc.load_text(text)
    x = np.array([[1 / 3, 1e300, 1 + 2.0**-30]])
    with np.errstate(over="ignore"):
        exact = x.astype(np.float32).astype(np.float64) - x
    np.testing.assert_array_equal(model.reference(x=x)["z"], exact)
    np.testing.assert_array_equal(model.compile()(x)["z"], exact)


def test_a_compiled_file_keeps_float64(tmp_path: Path) -> None:
    model = cnnc.load_text(NET)
    x = drawn(model.inputs["x"])
    compiled = model.compile()
    compiled.save(tmp_path / "net.cnnc")
    np.testing.assert_array_equal(
        cnnc.load_compiled(tmp_path / "net.cnnc")(x)["z"], compiled(x)["z"]
    )
