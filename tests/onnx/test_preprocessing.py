"""What stands in front of a network in ONNX, as the clause of its input."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

import cnnc
import cnnc.onnx
from cnnc.onnx.tidying.affine import spell, tables_of
from tests.onnx.runtime import apart, run_onnx
from tests.onnx.test_layouts import FIRST, Keras, body, imported, ints

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLAUSES = (
    ("u8[N, 6, 5, 3]", "layout = nhwc, scale = 1 / 255, mean = [0.485, 0.456, 0.406], "
     "std = [0.229, 0.224, 0.225]"),
    ("u8[N, 6, 5, 3]", "layout = nhwc, colors = bgr, mean = [103.939, 116.779, 123.68]"),
    ("u8[N, 3, 6, 5]", "scale = 1 / 127.5, mean = 1.0"),
    ("f32[N, 9, 4]", "layout = nlc, mean = 0.1307, std = 0.3081"),
    ("f32[N, 3, 6, 5]", "colors = bgr"),
    ("f32[N, 4, 6, 5, 2]", "layout = ndhwc, scale = -0.017123457, mean = [0.12345679, 2.0]"),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "clause"), CLAUSES)
def test_what_export_writes_comes_back(kind: str, clause: str, tmp_path: Path) -> None:
    """Export, import: the same clause, the same table of factors and offsets."""
    lines = "\n".join(_joined(clause.split(", ")))
    ends = f"input x: {kind} {{\n{lines}\n}}\noutput y = x -> relu -> conv(2, 1)"
    text = f"cnn 1\nnet n {{ {ends}\nweights he }}"
    model = cnnc.load_text(text)
    texts = []
    for place in range(2):
        cnnc.onnx.export(model, tmp_path / f"{place}.onnx")
        made = cnnc.onnx.import_model(tmp_path / f"{place}.onnx", tmp_path / str(place), name="n")
        model = cnnc.load(made.path)
        texts.append(body(made))
    assert texts[0] == texts[1]
    shown = " ".join(texts[0].split())
    for part in _joined(clause.split(", ")):
        assert part in shown.replace(", }", " }")
    assert "x -> relu" in shown
    given = model.graph.inputs[0].type
    random = np.random.default_rng(0)
    x = random.integers(0, 256, given.shape).astype(given.dtype.numpy)
    wanted = run_onnx(str(tmp_path / "0.onnx"), {"x": x})["y"]
    assert apart(wanted, model.reference(x)["y"]) < 1e-6


def _joined(parts: list[str]) -> list[str]:
    """The clauses of a list that was cut at all its commas."""
    found: list[str] = []
    for part in parts:
        if "=" in part:
            found.append(part)
        else:
            found[-1] += f", {part}"
    return found


def test_bytes_of_an_image(tmp_path: Path) -> None:
    """Cast, division, mean and deviation, then the layout: as frameworks write it."""
    net = Keras((1, 5, 4, 3), TensorProto.UINT8)
    net.add("Cast", to=TensorProto.FLOAT)
    net.add("Div", np.float32(255))
    net.add("Sub", np.array(MEAN, np.float32))
    net.add("Div", np.array(STD, np.float32))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (2, 3, 3, 3))
    text = body(imported(net.model(), tmp_path))
    shown = " ".join(text.split())
    assert (
        "image: u8[N, 5, 4, 3] { layout = nhwc scale = 1 / 255 mean = [0.485, 0.456, 0.406]"
        in shown
    )
    assert "std = [0.229, 0.224, 0.225] }" in shown
    assert "image -> conv" in shown


@pytest.mark.parametrize("how", ["slice", "gather", "concat"])
def test_colours(how: str, tmp_path: Path) -> None:
    """Red and blue change places in any of the ways in which that is written."""
    net = Keras((1, 5, 4, 3))
    if how == "slice":
        net.add("Slice", ints(-1), ints(-(2**31)), ints(3), ints(-1))
    elif how == "gather":
        net.add("Gather", ints(2, 1, 0), axis=3)
    else:
        parts = [net.add("Slice", ints(n), ints(n + 1), ints(3), x="image") for n in (2, 1, 0)]
        net.add("Concat", *parts[1:], x=parts[0], axis=3)
    net.add("Sub", np.array([103.939, 116.779, 123.68], np.float32))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (2, 3, 3, 3))
    shown = " ".join(body(imported(net.model(), tmp_path)).split())
    assert "layout = nhwc, colors = bgr, mean = [103.939, 116.779, 123.68]" in shown.replace(
        " colors", ", colors"
    ).replace(" mean", ", mean").replace(",,", ",")


@pytest.mark.parametrize(
    ("op", "number", "is_left", "clause"),
    [
        ("Mul", 0.0, False, None),
        ("Add", 0.5, False, "mean = -0.5"),
        ("Sub", 1.0, True, "scale = -1.0, mean = -1.0"),
        ("Div", 3.0, False, "std = 3.0"),
        ("Div", 3.0, True, None),
        ("Mul", [1.0, -1.0], False, None),
        ("Mul", [2.0, 4.0], False, "std = [0.5, 0.25]"),
    ],
)
def test_what_is_preprocessing(
    op: str, number: object, is_left: bool, clause: str | None, tmp_path: Path
) -> None:
    """One product and one sum for each channel, and nothing that the language has not."""
    net = Keras((1, 2, 4, 4))
    value = np.array(number, np.float32)
    value = value.reshape(1, -1, 1, 1) if value.ndim else value
    if is_left:
        held = net.keep(value, op)
        net.add(op, "image", x=held)
    else:
        net.add(op, value)
    net.add("Sigmoid")
    text = " ".join(body(imported(net.model(), tmp_path)).split())
    assert (f"{{ {clause} }}" in text) if clause else ("4] {" not in text)


def test_numbers_are_stable() -> None:
    """Tables have one spelling, and it gives the same table or one a rounding away."""
    random = np.random.default_rng(3)
    for place in range(100):
        factor, offset = random.normal(size=3) ** 2, random.normal(size=3) * (place % 3)
        if place % 2:
            factor, offset = np.round(factor + 0.01, 2), np.round(offset, 3)
        found = spell(factor, offset)
        assert found is not None
        tables = np.broadcast_to(tables_of(found), (2, 3)).astype(np.float64)
        assert np.allclose(tables, [factor, offset], rtol=3e-7, atol=0)
        assert spell(*tables) == found


def test_what_is_rounded_is_divided_as_the_model_does(tmp_path: Path) -> None:
    """A product with 50 rounds ties to another side than a quotient by 0.02 in f32."""
    net = Keras((1, 3, 16, 16))
    scale = np.float32(0.02)
    net.add("QuantizeLinear", scale, np.uint8(128))
    net.add("DequantizeLinear", scale, np.uint8(128))
    net.add("Conv", (2, 3, 1, 1))
    made = imported(net.model(), tmp_path)
    assert "scale =" not in body(made)
    ties = (np.arange(-120, 120, dtype=np.float32) + np.float32(0.5)) * scale
    x = np.resize(np.concatenate([ties, np.nextafter(ties, 9)]), (1, 3, 16, 16))
    wanted = run_onnx(net.model(), {"image": x.astype(np.float32)})
    found = cnnc.load(made.path).compile()(x.astype(np.float32))
    for one, two in zip(wanted.values(), found.values(), strict=True):
        assert apart(one, two) < 1e-5


def test_what_is_rounded_after_a_clip_stays_too(tmp_path: Path) -> None:
    """Bytes that are scaled, kept in range, and rounded."""
    net = Keras((1, 3, 4, 4), TensorProto.UINT8)
    net.add("Cast", to=TensorProto.FLOAT)
    net.add("Div", np.float32(10))
    net.add("Clip", np.float32(0), np.float32(20))
    net.add("Round")
    assert "scale =" not in body(imported(net.model(), tmp_path))
