"""Trained networks from public repositories, and the shapes of classics with seeded weights.

`CNNC_MODELS` names a folder of networks: in each a `model.onnx` and `test_data_set_*` with inputs
and outputs. `CNNC_ONNX_CLASSICS=1` runs all classics of the onnx package, and not only two.
"""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import cnnc.onnx
import cnnc.onnx_backend as backend
from cnnc.compare import diff

Array = NDArray[np.generic]
FOLDER = os.environ.get("CNNC_MODELS", "")
NETWORKS = sorted(path.parent for path in Path(FOLDER).glob("*/model.onnx")) if FOLDER else []
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FEW = ("light_shufflenet", "light_squeezenet")
CLASSICS = sorted(
    path
    for path in LIGHT.glob("*.onnx")
    if path.stem in FEW or os.environ.get("CNNC_ONNX_CLASSICS", "")
)


def tensors(folder: Path, prefix: str) -> list[Array]:
    """The arrays of a data set, in order."""
    paths = sorted(folder.glob(f"{prefix}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.TensorProto.FromString(p.read_bytes())) for p in paths]


@pytest.mark.skipif(not NETWORKS, reason="CNNC_MODELS names no folder of networks")
@pytest.mark.parametrize("by", ["native", "reference"])
@pytest.mark.parametrize("folder", NETWORKS, ids=[path.name for path in NETWORKS])
def test_stored_outputs(folder: Path, by: str) -> None:
    made = backend.prepare(onnx.load(folder / "model.onnx"), backend=by)
    sets = sorted(folder.glob("test_data_set_*"))
    assert sets
    for data in sets:
        expected = tensors(data, "output")
        for found, wanted in zip(made.run(tensors(data, "input")), expected, strict=True):
            assert found.shape == wanted.shape
            size = float(np.abs(wanted).max())
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * size)


@pytest.mark.skipif(not NETWORKS, reason="CNNC_MODELS names no folder of networks")
@pytest.mark.parametrize("folder", NETWORKS, ids=[path.name for path in NETWORKS])
def test_every_layer_agrees(folder: Path) -> None:
    report = diff(cnnc.onnx.load(folder / "model.onnx").compile())
    assert report.ok, report.format()


@pytest.mark.parametrize("path", CLASSICS, ids=[path.stem for path in CLASSICS])
def test_classics(path: Path) -> None:
    model = reweighted(onnx.load(path))
    x = model.graph.input[0]
    shape = [each.dim_value for each in x.type.tensor_type.shape.dim]
    feeds = {x.name: np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    for found, wanted in zip(
        backend.run_model(model, feeds), session.run(None, feeds), strict=True
    ):
        size = float(np.abs(wanted).max())
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * size)


def reweighted(model: onnx.ModelProto) -> onnx.ModelProto:
    """A light model with seeded weights for its constant ones, without the softmax at its end."""
    graph, rng = model.graph, np.random.default_rng(0)
    shapes = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    positive = {n.input[i] for n in graph.node if n.op_type == "BatchNormalization" for i in (1, 4)}
    kept, made = [], []
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        shape = tuple(int(n) for n in shapes[node.input[0]])
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        name = node.output[0]
        values = rng.uniform(0.5, 1.5, shape) if name in positive else rng.normal(0, scale, shape)
        made.append(numpy_helper.from_array(values.astype(np.float32), name))
    if kept[-1].op_type == "Softmax":
        graph.output[0].name = kept.pop().input[0]
        graph.output[0].type.tensor_type.ClearField("shape")
    read = {name for node in kept for name in node.input}
    made += [each for each in graph.initializer if each.name in read]
    known = {each.name for each in made}
    inputs = [each for each in graph.input if each.name in read - known]
    for field, values in (("node", kept), ("initializer", made), ("input", inputs)):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    return model
