"""Networks as ONNX files: names, weights, batches, files."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

import cnnc
import cnnc.onnx
from cnnc import UserError
from cnnc.memory import drawn
from tests.onnx.runtime import apart, run_onnx

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
TOLERANCE = 1e-4


def smaller(name: str) -> str:
    """The text of a net of the zoo on smaller images."""
    text = (ZOO / f"{name}.cnn").read_text(encoding="utf-8")
    for old, new in (("224, 224", "64, 64"), ("416, 416", "64, 64"), ("572, 572", "188, 188")):
        text = text.replace(old, new)
    lines = (line for line in text.splitlines() if "assert" not in line or "[N, " not in line)
    return "\n".join(lines).replace("4096]", "1100]").replace("120, 160", "12, 16")


@pytest.mark.parametrize("name", sorted(path.stem for path in ZOO.glob("*.cnn")))
def test_nets_of_the_zoo_compute_the_same(name: str, tmp_path: Path) -> None:
    """In ONNX Runtime and compiled here; outputs, inputs and weights keep their names."""
    model = cnnc.load_text(smaller(name))
    made = cnnc.onnx.export(model, tmp_path / "m.onnx")
    random = np.random.default_rng(7)
    inputs = {
        node.name: drawn(random, node.type.shape, node.type.dtype) for node in model.graph.inputs
    }
    wanted, found = model.compile()(inputs), run_onnx(str(tmp_path / "m.onnx"), inputs)
    assert [*found] == [*model.outputs]
    assert max(apart(wanted[key], found[key]) for key in wanted) < TOLERANCE
    paths = {node.name for node in model.graph.nodes if node.is_constant}
    assert {each.name for each in made.graph.initializer} & paths


NET = """cnn 1
net small {
  input x: f32[N, 3, 8, 8]
  stem = x -> conv(8, 3, pad = same, bias = false) -> batchnorm -> relu
  g = stem -> reshape([N, 2, 4, -1]) -> transpose([0, 2, 1, 3]) -> reshape([N, 8, 8, 8])
  u = g -> unshared(4, 3, stride = 2) -> lrn(4) -> depth_to_space(2, mode = crd)
  output y = u -> pool(avg, 2) -> resize(nearest, 3) -> flatten -> head: dense(5)
  weights he(seed = 3)
}
"""


def test_a_range_is_an_open_dimension() -> None:
    """One model for any number of samples."""
    model = cnnc.load_text(NET, batch=(1, 7))
    made = cnnc.onnx.export(model)
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert made.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    compiled = model.compile()
    for count in (1, 3, 7):
        x = np.random.default_rng(count).normal(size=(count, 3, 8, 8)).astype(np.float32)
        assert apart(compiled(x)["y"], run_onnx(made, {"x": x})["y"]) < TOLERANCE


def test_names_are_kept_and_shapes_are_known() -> None:
    """Weights by path, layers by theirs."""
    model = cnnc.load_text(NET)
    made = cnnc.onnx.export(model)
    weights = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
    for node in model.graph.nodes:
        if node.is_constant and node.name.endswith(".weight") and not node.name.startswith("u."):
            assert np.array_equal(weights[node.name], node.constant), node.name
    layers = {node.name for node in made.graph.node}
    assert {"stem.conv", "stem.batchnorm", "u.unshared", "head"} <= layers
    shapes = {
        each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in (*made.graph.value_info, *made.graph.output)
    }
    assert shapes["stem.conv"] == [1, 8, 8, 8]
    assert shapes["y"] == [1, 5]


@pytest.mark.parametrize(
    "text",
    [
        "output a = x -> relu, b = a, c = a -> id",
        "output a = x, b = x -> id",
        "output x",
        "h = x -> relu -> tanh\noutput y = h, z = h\noutput h",
        "output x, y = 2 * x",
    ],
)
def test_outputs_that_share_a_tensor_have_their_names(text: str) -> None:
    """Results without an operator of their own are copied."""
    model = cnnc.load_text(f"cnn 1\nnet n {{ input x: f32[1, 4]\n{text} }}")
    x = np.arange(-2, 2, dtype=np.float32).reshape(1, 4)
    found, wanted = run_onnx(cnnc.onnx.export(model), {"x": x}), model.reference(x)
    assert [*found] == [*wanted]
    assert all(apart(wanted[name], found[name]) < 1e-6 for name in wanted)


def test_large_weights_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one message cannot hold, as a limit of a few bytes shows."""
    monkeypatch.setattr("cnnc.onnx.exporting.LARGEST", 1000)
    monkeypatch.setattr("cnnc.onnx.exporting.LEAST", 100)
    model = cnnc.load_text(NET)
    path = tmp_path / "m.onnx"
    cnnc.onnx.export(model, path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    x = np.ones((1, 3, 8, 8), np.float32)
    assert apart(model.compile()(x)["y"], run_onnx(str(path), {"x": x})["y"]) < TOLERANCE


def test_a_model_is_never_beside_the_weights_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where weights cannot be put in place, the model that was there stays."""
    monkeypatch.setattr("cnnc.onnx.exporting.LARGEST", 1000)
    monkeypatch.setattr("cnnc.onnx.exporting.LEAST", 100)
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")
    seen: list[bool] = []

    def replace(source: str | Path, target: str | Path) -> None:
        if Path(target).name == "m.onnx.data":
            seen.append(path.exists())
            raise OSError("full")
        os.rename(source, target)

    monkeypatch.setattr("cnnc.onnx.exporting.os.replace", replace)
    with pytest.raises(UserError, match="E0704"):
        cnnc.onnx.export(cnnc.load_text(NET), path)
    assert seen == [False]
    assert path.read_bytes() == b"before"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    """No weights, no folder, no package."""
    with pytest.raises(UserError, match="E0408"):
        cnnc.onnx.export(cnnc.load_text(NET, weights=False))
    with pytest.raises(UserError, match="E0704"):
        cnnc.onnx.export(cnnc.load_text(NET), tmp_path / "no" / "m.onnx")


def test_the_package_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And then it is named."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="E0802"):
        cnnc.onnx.export(cnnc.load_text(NET))
