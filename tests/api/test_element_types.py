"""Inputs and outputs of every element type, from arrays and from images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnc
from cnnc.arrays import Source, read_inputs
from cnnc.base.errors import UserError
from cnnc.interface import Interface

PHOTO = """
cnn 1
net photo {
  input image: u8[N, 6, 5, 3] {
    layout = nhwc
    colors = bgr
    scale = 1/255
    mean = [0.4, 0.5, 0.6]
    std = [0.2, 0.3, 0.4]
  }
  output y = image -> conv(20, 3, pad = same)
  weights he
}
"""
TYPES = """
cnn 1
net types {
  input a: f32[N, 3, 4]
  input b: u8[N, 3, 4]
  input c: i32[N, 3, 4]
  input d: i64[N, 3, 4]
  input e: bool[N, 3, 4]
  output to_bool = a -> cast(bool)
  output to_u8 = a * 100 -> cast(u8)
  output to_i32 = d -> cast(i32)
  output to_f32 = add(b -> cast(f32), e -> cast(f32))
  output joined = concat { c | c }
  output flat = d -> flatten
  output same = e -> id
}
"""
BACKENDS = ["native", "interp", "reference"]


@pytest.fixture(scope="module", params=BACKENDS)
def types(request: pytest.FixtureRequest) -> cnnc.Compiled:
    return cnnc.load_text(TYPES).compile(backend=request.param)


def test_every_element_type_goes_in_and_comes_out(types: cnnc.Compiled) -> None:
    random = np.random.default_rng(1)
    a = random.normal(size=(3, 3, 4)).astype(np.float32)
    a[0, 0] = [np.nan, np.inf, -np.inf, 0]
    b = random.integers(0, 256, a.shape).astype(np.uint8)
    c, d = (random.integers(-(2**31), 2**31, a.shape).astype(t) for t in (np.int32, np.int64))
    d[0, 0] = [2**40 + 7, -(2**40), 2**31, 5]
    e = random.random(a.shape) < 0.5
    found = types(a=a, b=b, c=c, d=d, e=e)
    assert {name: str(each.dtype) for name, each in found.items()} == {
        "to_bool": "bool", "to_u8": "uint8", "to_i32": "int32", "to_f32": "float32",
        "joined": "int32", "flat": "int64", "same": "bool",
    }  # fmt: skip
    np.testing.assert_array_equal(found["to_bool"], a != 0)
    assert found["to_u8"][0, 0].tolist() == [0, 255, 0, 0]
    inside = np.clip(np.trunc(np.nan_to_num(a[1:] * np.float32(100))), 0, 255)
    np.testing.assert_array_equal(found["to_u8"][1:], inside)
    assert found["to_i32"][0, 0].tolist() == [7, 0, -(2**31), 5]
    np.testing.assert_array_equal(found["to_f32"], b.astype(np.float32) + e)
    np.testing.assert_array_equal(found["joined"], np.concatenate([c, c], axis=1))
    np.testing.assert_array_equal(found["flat"], d.reshape(3, -1))
    np.testing.assert_array_equal(found["same"], e)


def test_pixels_are_normalised_in_the_copy_that_gives_the_convolution_its_layout() -> None:
    """No pass over a normalised image, and no repacking of one: the only copy does all of it."""
    compiled = cnnc.load_text(PHOTO).compile()
    steps = [step.layer for step in compiled.lowered.program.steps]
    assert steps == ["image.preprocess", "y", "y.abcd"]
    (copy, *_) = compiled.lowered.layers
    assert (str(copy.node.inputs[0].type), str(copy.node.type)) == (
        "u8[1, 6, 5, 3]",
        "f32[1, 3, 6, 5]@abcd+c1:1+d1:1",
    )
    pixels = np.random.default_rng(2).integers(0, 256, (4, 6, 5, 3)).astype(np.uint8)
    seen = (pixels[..., ::-1] / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
    plain = PHOTO.replace("u8[N, 6, 5, 3] {", "f32[N, 3, 6, 5]\n  _x = [").split("_x = [")
    text = plain[0] + plain[1].split("}", 1)[1]
    expected = cnnc.load_text(text).compile()(np.moveaxis(seen, -1, 1).astype(np.float32))
    np.testing.assert_allclose(compiled(pixels)["y"], expected["y"], rtol=1e-5, atol=1e-5)


def test_images_arrive_as_the_input_says(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    net = Interface.of(cnnc.load_text(PHOTO).graph)
    found = read_inputs(net, [Source(path)]).arrays["image"]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels[None])
    first = PHOTO.replace("u8[N, 6, 5, 3]", "f32[N, 3, 6, 5]").replace("nhwc", "nchw")
    found = read_inputs(Interface.of(cnnc.load_text(first).graph), [Source(path)]).arrays["image"]
    np.testing.assert_array_equal(found[0], np.moveaxis(pixels, -1, 0) / np.float32(255))


def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path) -> None:
    deep = np.array([[0, 128], [129, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    text = "cnn 1\nnet n {\n  input x: u8[N, 1, 2, 2]\n  output y = x -> cast(f32)\n}"
    found = read_inputs(Interface.of(cnnc.load_text(text).graph), [Source(tmp_path / "deep.png")])
    assert found.arrays["x"].reshape(-1).tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(
    ("array", "code", "help"),
    [
        (np.zeros((1, 6, 5, 3), np.float32), "E0602", "`(x * 255).round()`"),
        (np.zeros((1, 6, 5, 3), np.int64), "E0602", "`.astype('uint8')`"),
        (np.zeros((1, 3, 6, 5), np.uint8), "E0601", "`np.moveaxis(image, 1, -1)`"),
        (np.zeros((6, 5, 3), np.uint8), "E0601", "`image[None]`"),
    ],
)
def test_arrays_that_do_not_fit_say_what_to_do(array: np.ndarray, code: str, help: str) -> None:
    compiled = cnnc.load_text(PHOTO).compile(backend="reference")
    with pytest.raises(UserError) as caught:
        compiled(array)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert help in (found.help or "")


def test_an_input_that_is_no_image_names_the_clause(tmp_path: Path) -> None:
    Image.new("RGB", (5, 6)).save(tmp_path / "photo.png")
    text = "cnn 1\nnet n {\n  input x: u8[N, 6, 5, 3]\n  output y = x -> cast(f32)\n}"
    with pytest.raises(UserError, match="no image can be") as caught:
        read_inputs(Interface.of(cnnc.load_text(text).graph), [Source(tmp_path / "photo.png")])
    assert "layout = nhwc" in (caught.value.diagnostics[0].help or "")
