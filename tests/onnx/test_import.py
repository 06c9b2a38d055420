"""ONNX models as text and weights, and back."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import cnnc
import cnnc.onnx
from cnnc import UserError
from cnnc.base.source import SourceFile
from cnnc.cli import cli
from cnnc.frontend.formatting.format import format_source
from cnnc.memory import drawn
from tests.onnx.runtime import apart, run_onnx
from tests.onnx.test_export import smaller

TOLERANCE = 1e-4
NETS = ("ds_cnn", "lenet5", "pooling", "resnet18", "shufflenet_v2", "tcn", "two_inputs", "unet")


@pytest.mark.parametrize("name", NETS)
def test_round_trips_are_stable(name: str, tmp_path: Path) -> None:
    """What was exported comes back as a text that computes the same, again and again."""
    model = cnnc.load_text(smaller(name))
    cnnc.onnx.export(model, tmp_path / "first.onnx")
    first = cnnc.onnx.import_model(tmp_path / "first.onnx", tmp_path / "one", name="n")
    assert format_source(SourceFile("t", first.rolled.text)) == first.rolled.text
    again = cnnc.load(first.path)
    cnnc.onnx.export(again, tmp_path / "second.onnx")
    second = cnnc.onnx.import_model(tmp_path / "second.onnx", tmp_path / "two", name="n")
    assert second.rolled.text == first.rolled.text
    random = np.random.default_rng(1)
    inputs = {
        node.name: drawn(random, node.type.shape, node.type.dtype) for node in model.graph.inputs
    }
    wanted = run_onnx(str(tmp_path / "first.onnx"), inputs)
    found = again.reference(inputs)
    assert [*found] == [*wanted]
    assert max(apart(wanted[key], found[key]) for key in wanted) < TOLERANCE


def layer(name: str, x: str, channels: int, inputs: int, kernel: int, stride: int) -> list[object]:
    """A convolution and a batchnorm as PyTorch names them."""
    random = np.random.default_rng(len(name) + channels)
    conv, norm = name, name.replace("conv", "bn").replace("downsample.0", "downsample.1")
    arrays = {
        f"{conv}.weight": random.normal(size=(channels, inputs, kernel, kernel)) / 10,
        **{f"{norm}.{each}": random.normal(size=channels) for each in ("weight", "bias")},
        f"{norm}.running_mean": random.normal(size=channels),
        f"{norm}.running_var": random.uniform(0.5, 2, size=channels),
    }
    pads, strides = [kernel // 2] * 4, [stride] * 2
    nodes = [
        helper.make_node("Conv", [x, f"{conv}.weight"], [f"{name}/c"], pads=pads, strides=strides),
        helper.make_node(
            "BatchNormalization",
            [f"{name}/c", *(key for key in arrays if key.startswith(f"{norm}."))],
            [f"{name}/y"],
        ),
    ]
    made = [numpy_helper.from_array(v.astype(np.float32), key) for key, v in arrays.items()]
    return [*nodes, *made]


def residual_model(counts: Sequence[int] = (3, 4)) -> onnx.ModelProto:
    """A network of PyTorch's shape: layer1.0.conv1, layer2.0.downsample.0 and so on."""
    parts: list[object] = [*layer("conv1", "image", 8, 3, 3, 1)]
    x, inputs = "conv1/y", 8
    for number, count in enumerate(counts, start=1):
        for place in range(count):
            name, channels = f"layer{number}.{place}", 8 * number
            stride = 2 if place == 0 else 1
            parts += layer(f"{name}.conv1", x, channels, inputs, 3, stride)
            parts.append(helper.make_node("Relu", [f"{name}.conv1/y"], [f"{name}/r"]))
            parts += layer(f"{name}.conv2", f"{name}/r", channels, channels, 3, 1)
            shortcut = x
            if place == 0:
                parts += layer(f"{name}.downsample.0", x, channels, inputs, 1, 2)
                shortcut = f"{name}.downsample.0/y"
            parts.append(helper.make_node("Add", [f"{name}.conv2/y", shortcut], [f"{name}/s"]))
            parts.append(helper.make_node("Relu", [f"{name}/s"], [f"{name}/y"]))
            x, inputs = f"{name}/y", channels
    parts.append(helper.make_node("GlobalAveragePool", [x], ["p"]))
    parts.append(helper.make_node("Flatten", ["p"], ["logits"]))
    graph = helper.make_graph(
        [each for each in parts if isinstance(each, onnx.NodeProto)],
        "main_graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", inputs])],
        [each for each in parts if isinstance(each, TensorProto)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_a_model_of_pytorch(tmp_path: Path) -> None:
    """Stages of a repeated block; labels after the modules."""
    path = tmp_path / "residual.onnx"
    onnx.save(residual_model(), path)
    made = cnnc.onnx.import_model(path, tmp_path)
    text = made.path.read_text(encoding="utf-8")
    assert made.path.name == "residual.cnn"
    assert "layer2 = layer1 -> stage(16, 3)" in text
    assert "conv1: conv(" in text
    assert len(text.splitlines()) < 40
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    wanted = run_onnx(str(path), {"image": x})
    assert apart(wanted["logits"], cnnc.load(made.path).compile()(x)["logits"]) < TOLERANCE


def test_folded_batchnorms_and_names_of_the_model(tmp_path: Path) -> None:
    """Both options compute the same; rules lead from the model's names to the text's."""
    model = residual_model()
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    wanted = run_onnx(model, {"image": x})["logits"]
    folded = cnnc.onnx.import_model(model, tmp_path, name="folded", fold_batchnorm=True)
    assert "batchnorm" not in folded.rolled.text
    kept = cnnc.onnx.import_model(model, tmp_path, name="kept", keep_names=True)
    assert '=> "' in kept.rolled.text
    assert "layer2.0.downsample.0.weight" in kept.rolled.arrays
    for each in (folded, kept):
        assert apart(wanted, cnnc.load(each.path).compile()(x)["logits"]) < TOLERANCE


def test_an_added_tensor_is_a_bias(tmp_path: Path) -> None:
    """As Keras and CNTK write dense layers and convolutions."""
    weight, bias = np.ones((4, 3), np.float32), np.arange(3, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Add", ["h", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    made = cnnc.onnx.import_model(model, tmp_path)
    assert "x -> h: dense(3)" in made.rolled.text
    assert np.array_equal(
        cnnc.load(made.path).reference(np.ones((1, 4), np.float32))["y"], [[4, 5, 6]]
    )


def test_the_verbs(tmp_path: Path) -> None:
    """`cnnc import` and `cnnc export`, as text and as JSON."""
    onnx.save(residual_model((1, 2)), tmp_path / "m.onnx")
    runner = CliRunner()
    given = ["import", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out"), "--dim", "N=2"]
    shown = runner.invoke(cli, given)
    assert shown.exit_code == 0, shown.output
    assert "BatchNormalization" in shown.output
    found = json.loads(runner.invoke(cli, [*given, "--json"]).output)
    assert {each["operator"] for each in found["nodes"]} >= {"Conv", "Relu", "Add"}
    assert len(found["names"]) == len(onnx.load(tmp_path / "m.onnx").graph.initializer)
    text = tmp_path / "out" / "m.cnn"
    assert "param N = 2" in text.read_text(encoding="utf-8")
    shown = runner.invoke(cli, ["export", str(text), "-o", str(tmp_path / "back.onnx")])
    assert shown.exit_code == 0, shown.output
    found = json.loads(runner.invoke(cli, ["export", str(text), "--json"]).output)
    assert found["path"] == str(text.with_suffix(".onnx"))


@pytest.mark.parametrize("dim", ["N", "N=0", "N=x", "=3"])
def test_dims_that_are_none(dim: str, tmp_path: Path) -> None:
    """Said by name."""
    onnx.save(residual_model((1,)), tmp_path / "m.onnx")
    given = ["import", str(tmp_path / "m.onnx"), "-o", str(tmp_path), "--dim", dim]
    error = CliRunner().invoke(cli, given).exception
    assert isinstance(error, UserError)
    assert error.diagnostics[0].code == "E0803"


def test_files_that_hold_something_else_stay(tmp_path: Path) -> None:
    """What somebody wrote is replaced only where it is asked for."""
    path = tmp_path / "residual.onnx"
    onnx.save(residual_model(), path)
    made = cnnc.onnx.import_model(path, tmp_path)
    cnnc.onnx.import_model(path, tmp_path)
    for written in (made.path, made.weights):
        assert written is not None
        before = written.read_bytes()
        written.write_bytes(before + b"\n")
        with pytest.raises(UserError, match="E0704"):
            cnnc.onnx.import_model(path, tmp_path)
        assert written.read_bytes() == before + b"\n"
        found = CliRunner().invoke(cli, ["import", str(path), "-o", str(tmp_path), "--force"])
        assert found.exit_code == 0, found.output
        assert written.read_bytes() == before


def test_a_dim_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "residual.onnx"
    onnx.save(residual_model(), path)
    found = CliRunner().invoke(cli, ["import", str(path), "-o", str(tmp_path), "--dim", "H=3"])
    assert "E0903" in str(found.exception)


def unnamed(*nodes: onnx.NodeProto, **arrays: np.ndarray) -> onnx.ModelProto:
    """A model from `input` to `output`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_the_report_tells_nodes_without_a_name_apart(tmp_path: Path) -> None:
    """And those that share one."""
    model = unnamed(
        helper.make_node("Conv", ["input", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["a"], name="same"),
        helper.make_node("Sigmoid", ["a"], ["output"], name="same"),
        w=np.ones((3, 3, 1, 1), np.float32),
    )
    made = cnnc.onnx.import_model(model, tmp_path)
    assert [each.became for each in made.report] == ["`conv`", "`relu`", "`sigmoid`"]
    assert [each.node for each in made.report] == ["h", "a", "output"]


def test_the_report_says_what_inputs_and_outputs_are_called(tmp_path: Path) -> None:
    """`input` and `output` are words of the language."""
    onnx.save(unnamed(helper.make_node("Relu", ["input"], ["output"])), tmp_path / "m.onnx")
    given = ["import", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out")]
    shown = CliRunner().invoke(cli, given)
    assert "input `input` is called `input_1`" in shown.output
    assert "output `output` is called `output_1`" in shown.output
    found = json.loads(CliRunner().invoke(cli, [*given, "--json"]).output)
    assert found["inputs"] == {"input": "input_1"}
    assert found["outputs"] == {"output": "output_1"}


@pytest.mark.parametrize(("verb", "options"), [("check", ()), ("run", ("-i", "random"))])
def test_other_verbs_name_import(verb: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """An ONNX model is no text."""
    path = tmp_path / "m.onnx"
    onnx.save(residual_model((1,)), path)
    error = CliRunner().invoke(cli, [verb, str(path), *options]).exception
    assert isinstance(error, UserError)
    assert error.diagnostics[0].code == "E0703"
    assert "cnnc import m.onnx" in str(error)


@pytest.mark.parametrize("data", [b"PK\x03\x04" + bytes(60), b"\x80\x02" + bytes(60)])
def test_weights_that_torch_saved(data: bytes, tmp_path: Path) -> None:
    """Under the name of safetensors."""
    (tmp_path / "w.safetensors").write_bytes(data)
    text = 'net n { input x: f32[N, 3]\noutput y = x -> dense(2)\nweights "w.safetensors" }'
    (tmp_path / "n.cnn").write_text(f"cnn 1\n{text}\n")
    with pytest.raises(UserError, match="save_file"):
        cnnc.load(tmp_path / "n.cnn")


def test_names_that_are_none_are_refused(tmp_path: Path) -> None:
    """Rather than written under another one."""
    onnx.save(residual_model((1,)), tmp_path / "m.onnx")
    given = ["import", str(tmp_path / "m.onnx"), "-o", str(tmp_path), "--name", "1x"]
    error = CliRunner().invoke(cli, given).exception
    assert isinstance(error, UserError)
    assert error.diagnostics[0].code == "E0803"
    assert "such as v1x" in str(error)


def gelu_nodes(kind: str) -> list[onnx.NodeProto]:
    """What PyTorch writes before opset 20."""
    node = helper.make_node
    if kind == "erf":
        return [
            node("Div", ["input", "root"], ["a"]),
            node("Erf", ["a"], ["b"]),
            node("Add", ["b", "one"], ["c"]),
            node("Mul", ["input", "c"], ["d"]),
            node("Mul", ["d", "half"], ["output"]),
        ]
    return [
        node("Mul", ["half", "input"], ["h"]),
        node("Pow", ["input", "three"], ["a"]),
        node("Mul", ["cubic", "a"], ["b"]),
        node("Add", ["input", "b"], ["c"]),
        node("Mul", ["c", "slope"], ["d"]),
        node("Tanh", ["d"], ["e"]),
        node("Add", ["e", "one"], ["f"]),
        node("Mul", ["h", "f"], ["output"]),
    ]


@pytest.mark.parametrize("root", [2**0.5, 1.41])
@pytest.mark.parametrize(("kind", "wanted"), [("erf", "gelu"), ("tanh", "gelu(tanh)")])
def test_gelus_of_older_opsets(kind: str, wanted: str, root: float, tmp_path: Path) -> None:
    """Found where the numbers are GELU's, and only there."""
    slope = (2 / np.pi) ** 0.5 * root / 2**0.5
    numbers = {"root": root, "one": 1, "half": 0.5, "three": 3, "cubic": 0.044715, "slope": slope}
    arrays = {name: np.array(value, np.float32) for name, value in numbers.items()}
    model = unnamed(*gelu_nodes(kind), **arrays)
    made = cnnc.onnx.import_model(model, tmp_path, name="n")
    assert ("gelu" in made.rolled.text) == (root == 2**0.5)
    if root == 2**0.5:
        assert wanted in made.rolled.text
        assert {each.became for each in made.report} <= {"part of `gelu`"}
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32) * 3
    wanted_y = run_onnx(model, {"input": x})["output"]
    (found,) = cnnc.load(made.path).compile()(x).values()
    assert apart(wanted_y, found) < 1e-6


@pytest.mark.parametrize(
    ("parts", "order", "out", "wanted"),
    [
        ([1, 3, 4, 2, 4, 2], [0, 3, 5, 1, 2, 4], [1, 12, 4, 4], "space_to_depth(2)"),
        ([1, 3, 4, 2, 4, 2], [0, 1, 3, 5, 2, 4], [1, 12, 4, 4], "space_to_depth(2, mode = crd)"),
        ([1, 3, 4, 2, 4, 2], [0, 1, 5, 3, 2, 4], [1, 12, 4, 4], "transpose"),
    ],
)
def test_blocks_of_reshapes(
    parts: list[int], order: list[int], out: list[int], wanted: str, tmp_path: Path
) -> None:
    """Found where every element goes to the same place; there, and back."""
    back = [int(each) for each in np.argsort(order)]
    model = unnamed(
        helper.make_node("Reshape", ["input", "parts"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=order),
        helper.make_node("Reshape", ["b", "out"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Reshape", ["d", "turned"], ["e"]),
        helper.make_node("Transpose", ["e"], ["f"], perm=back),
        helper.make_node("Reshape", ["f", "whole"], ["output"]),
        parts=np.array(parts),
        out=np.array(out),
        turned=np.array([parts[each] for each in order]),
        whole=np.array([1, 3, 8, 8]),
    )
    made = cnnc.onnx.import_model(model, tmp_path, name="n")
    assert wanted in made.rolled.text
    assert ("depth_to_space" in made.rolled.text) == ("space" in wanted)
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    (found,) = cnnc.load(made.path).compile()(x).values()
    assert np.array_equal(run_onnx(model, {"input": x})["output"], found)
