"""Flat nets become text that says the same, with blocks and repetitions found again."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import cnnc
from cnnc.base.errors import InternalError
from cnnc.base.source import SourceFile
from cnnc.frontend.formatting.format import format_source
from cnnc.onnx.flat import FlatNet
from cnnc.onnx.loading import read_flat
from cnnc.onnx.reroll.agreement import match
from cnnc.onnx.reroll.rolled import roll
from cnnc.onnx.tidy import tidy
from tests.onnx.flatten import flatten

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"


def flat(body: str) -> FlatNet:
    """The flat net of a text."""
    text = f"cnn 1\nnet n {{ input x: f32[N, 4, 8, 8]\n{body}\n weights he }}"
    return flatten(cnnc.load_text(text, weights=False).graph)


def rolled(body: str) -> str:
    """The lines of the net in the text that comes back, without ends."""
    return roll(flat(body), "w.safetensors").text


@pytest.mark.parametrize("name", sorted(path.stem for path in ZOO.glob("*.cnn")))
def test_nets_of_the_zoo_come_back(name: str) -> None:
    """Checked to be the same nets, in the canonical layout; and again from what came back."""
    net = flatten(cnnc.load(ZOO / f"{name}.cnn", weights=False).graph)
    made = roll(net, "w.safetensors")
    assert format_source(SourceFile("t", made.text)) == made.text
    assert len({*made.origins.values()}) == len(net.arrays)
    again = flatten(cnnc.load_text(made.text, weights=False).graph)
    assert roll(again, "w.safetensors").text == made.text


RESNET50 = """\
cnn 1

block unit(channels, stride = 1) {
  conv(channels, 1, bias = false)
    -> batchnorm
    -> relu
    -> conv(channels, 3, stride = stride, pad = 1, bias = false)
    -> batchnorm
    -> relu
    -> conv(4 * channels, 1, bias = false)
    -> batchnorm
}

block stage(channels, count, stride = 1) {
  add {
      unit(channels, stride = stride)
    | conv(4 * channels, 1, stride = stride, bias = false) -> batchnorm
  } -> relu -> repeat(count) { add { unit(channels) | id } -> relu }
}

net resnet50 {
  input image: f32[N, 3, 224, 224]
  stem = image
    -> conv(64, 7, stride = 2, pad = 3, bias = false)
    -> batchnorm
    -> relu
    -> pool(max, 3, stride = 2, pad = 1)
  features = stem
    -> stage(64, 2)
    -> stage(128, 3, stride = 2)
    -> stage(256, 5, stride = 2)
    -> stage(512, 2, stride = 2)
    -> pool(avg, global)
    -> flatten
  output logits = features -> dense(1000)
  weights "w.safetensors"
}
"""


def test_resnet50_of_the_onnx_package() -> None:
    """As another exporter wrote it, with names that say nothing."""
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    net = tidy(read_flat(light / "light_resnet50.onnx"))
    text = roll(net, "w.safetensors").text
    assert len(text.splitlines()) < 50
    for part in ("stage(64, 2)", "stage(128, 3, stride = 2)", "stage(256, 5, stride = 2)"):
        assert part in text


def test_resnet50_is_stages_of_a_repeated_block() -> None:
    """175 operators in fewer than 40 lines."""
    net = flatten(cnnc.load(ZOO / "resnet50.cnn", weights=False).graph)
    assert len(net.stages) == 175
    assert roll(net, "w.safetensors").text == RESNET50


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("output y = x -> add { conv(4, 1) -> relu | id }", "x -> add { conv(4, 1) -> relu | id }"),
        ("output y = x -> relu -> sub { 1 | id }", "x -> relu -> sub { 1.0 | id }"),
        ("output y = (x -> relu) * 0.5", "x -> relu -> mul(0.5)"),
        ("output y = x * x", "x -> mul { id | id }"),
        ("output y = x + tensor([4, 1, 1])", "x -> add { id | tensor([4, 1, 1]) }"),
        (
            "h = x -> relu\na = h -> tanh\noutput y = [a -> abs, h, a -> exp] -> concat",
            "h2 = h1 -> tanh",
        ),
        ("output y = x -> repeat(3) { conv(4, 1) -> relu }", "x -> repeat(3) { conv(4, 1) -> relu"),
        ("output y = x -> first: conv(4, 1) -> relu -> conv(2, 1)", "first: conv(4, 1)"),
        ("output y = x -> conv(2, [1, 3], pad = [[0, 0], [2, 1]])", "pad = [0, [2, 1]]"),
        (
            "output y = x -> conv(2, 3, pad = [[1, 1], [1, 1]], stride = [2, 2])",
            "stride = 2, pad = 1",
        ),
        ("output y = x -> leaky_relu(0.10000000149011612)", "leaky_relu(0.1)"),
        ("output y = x -> prelu(true)", "prelu(shared = true)"),
        ("output y = x -> batchnorm(0.0)", "batchnorm(eps = 0.0)"),
        ("output y = x -> relu", "cnn 1\n\nnet n"),
        ("output y = x, z = x -> relu", "output y = x"),
        ("h = x -> relu\noutput y = h -> tanh\noutput z = h", "output y\n  output z"),
    ],
)
def test_small_nets(body: str, wanted: str) -> None:
    """What stands in the text; that it means the same has been checked on the way."""
    assert wanted in rolled(body)


def test_names_of_parts_are_bindings_and_labels() -> None:
    """`layer1.0.conv1` and the like come from bindings, repetitions and labels."""
    body = """
    layer1 = x -> repeat(3) { conv1: conv(4, 3, pad = 1) -> relu -> conv2: conv(4, 1) -> relu }
    layer2 = layer1 -> repeat(2) { conv1: conv(8, 3, pad = 1) -> relu -> conv2: conv(8, 1) -> relu }
    output y = layer2 -> flatten -> fc: dense(10)
    """
    made = roll(flat(body), "w.safetensors")
    assert {path for path, key in made.origins.items() if path == key} >= {
        "layer1.0.conv1.weight",
        "layer1.2.conv2.bias",
        "fc.weight",
    }
    assert "layer2 = layer1\n    -> repeat(2)" in made.text


def test_outputs_keep_their_order() -> None:
    """Whatever order their values are made in."""
    text = rolled("a = x -> relu\nb = a -> tanh\noutput y = b\noutput z = a")
    model = cnnc.load_text(text, weights=False)
    assert [*model.outputs] == ["y", "z"]


def test_deep_nests_are_bound_to_names() -> None:
    """The text stays within the language's limits."""
    body = "\n".join(
        ["h0 = x", *(f"h{i + 1} = h{i} -> conv(4, 1)" for i in range(50)), "u50 = h50 -> relu"]
        + [f"u{i} = [u{i + 1} -> conv(4, 1), h{i}] -> add" for i in reversed(range(50))]
        + ["output y = u0"]
    )
    assert max(map(len, rolled(body).splitlines())) <= 100


def test_a_text_that_says_something_else_is_a_bug() -> None:
    """Never handed out in silence."""
    net = flat("output y = x -> conv(4, 1) -> relu")
    other = cnnc.load_text(
        "cnn 1\nnet n { input x: f32[N, 4, 8, 8]\noutput y = x -> conv(4, 3) -> relu }",
        weights=False,
    )
    with pytest.raises(InternalError, match="became another"):
        match(net, other.graph)
    same = cnnc.load_text(roll(net, "w").text, weights=False)
    assert len(match(net, same.graph)) == 2
    wrong = replace(net, outputs=(("y", net.stages[0].name),))
    with pytest.raises(InternalError, match="became another"):
        match(wrong, same.graph)
