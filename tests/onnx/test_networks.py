"""Trained networks from public repositories, and the shapes of classics with seeded weights.

`CNNC_MODELS` names a folder of networks: in each a `model.onnx` and `test_data_set_*` with inputs
and outputs. Without it they are looked for in `shared/models` beside the project. What was compiled
for a GPU runs on the processor here, a few million times slower: in one order of threads only.
`CNNC_ONNX_CLASSICS=1` runs all classics of the onnx package, and not only six.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
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
from cnnc.compare.measure import measure
from cnnc.compare.whole import expect
from cnnc.ir.graph import Graph
from cnnc.onnx.flat import FlatNet
from cnnc.onnx.loading import read_flat, to_model
from tests.cuda.nets import planned
from tests.cuda.shim import Library, Net, compile_nets

Array = NDArray[np.generic]
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "models"
FOLDER = Path(os.environ.get("CNNC_MODELS", BESIDE))
NETWORKS = sorted(path.parent for path in FOLDER.glob("*/model.onnx"))
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SIX = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
CLASSICS = sorted(
    path
    for path in LIGHT.glob("*.onnx")
    if path.stem.removeprefix("light_") in SIX or os.environ.get("CNNC_ONNX_CLASSICS", "")
)
each_network = pytest.mark.parametrize("folder", NETWORKS, ids=[path.name for path in NETWORKS])
if_there = pytest.mark.skipif(not NETWORKS, reason=f"no networks in {FOLDER}: see CNNC_MODELS")


def tensors(folder: Path, prefix: str) -> list[Array]:
    """The arrays of a data set, in order."""
    paths = sorted(folder.glob(f"{prefix}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.TensorProto.FromString(p.read_bytes())) for p in paths]


def data_sets(folder: Path) -> list[tuple[list[Array], list[Array]]]:
    """Inputs and outputs that lie beside a network."""
    found = sorted(folder.glob("test_data_set_*"))
    assert found
    return [(tensors(each, "input"), tensors(each, "output")) for each in found]


def assert_alike(found: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Equal but for roundings, which are as large as the largest elements make them."""
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        size = float(np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * size)


@if_there
@pytest.mark.parametrize("by", ["native", "c", "reference"])
@each_network
def test_stored_outputs(folder: Path, by: str) -> None:
    made = backend.prepare(onnx.load(folder / "model.onnx"), backend=by)
    for inputs, outputs in data_sets(folder):
        assert_alike(made.run(inputs), outputs)


@if_there
@pytest.mark.parametrize("by", ["native", "c"])
@each_network
def test_every_layer_agrees(folder: Path, by: str) -> None:
    report = diff(cnnc.onnx.load(folder / "model.onnx").compile(backend=by))
    assert report.ok, report.format()


def on_a_gpu(graph: Graph, flat: FlatNet, inputs: Sequence[Array], folder: Path) -> list[Array]:
    """The outputs, as code for a GPU computes them."""
    plan = planned(graph)
    net = Net(Library(compile_nets(folder, [plan])), plan)
    shaped = [each.reshape(end.in_net) for each, end in zip(inputs, flat.given, strict=True)]
    found = net.run(shaped)
    net.close()
    return found


@if_there
@each_network
def test_stored_outputs_by_code_for_a_gpu(folder: Path, tmp_path: Path) -> None:
    flat = read_flat(folder / "model.onnx")
    inputs, outputs = data_sets(folder)[0]
    found = on_a_gpu(to_model(flat).graph, flat, inputs, tmp_path)
    shapes = [end.shape for end in flat.wanted]
    assert_alike([each.reshape(s) for each, s in zip(found, shapes, strict=True)], outputs)


@if_there
@each_network
def test_every_operator_by_code_for_a_gpu(folder: Path, tmp_path: Path) -> None:
    """All that flows in the network as outputs, each within the tolerance of its roundings."""
    flat = read_flat(folder / "model.onnx")
    whole = to_model(flat)
    inner = [node for node in whole.graph.nodes if not node.is_leaf]
    graph = replace(whole.graph, outputs={f"y{n}": node for n, node in enumerate(inner)})
    inputs, _ = data_sets(folder)[0]
    shaped = {
        node.name: each.reshape(node.type.shape)
        for node, each in zip(graph.inputs, inputs, strict=True)
    }
    expected = expect(graph, shaped, 0)
    found = on_a_gpu(graph, flat, inputs, tmp_path)
    for out, name in zip(found, graph.outputs, strict=True):
        errors = measure(out, expected.values[name], expected.tolerances[name])
        assert errors.ok, (graph.outputs[name].name, errors)


def by_runtime(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """What ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: list[Array] = session.run(None, feeds)
    return found


def drawn(model: onnx.ModelProto) -> dict[str, Array]:
    """An input."""
    x = model.graph.input[0]
    shape = [each.dim_value for each in x.type.tensor_type.shape.dim]
    return {x.name: np.random.default_rng(1).normal(size=shape).astype(np.float32)}


def far(found: Array, wanted: Array) -> float:
    """How far they are apart, in the size of what they should be."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("path", CLASSICS, ids=[path.stem for path in CLASSICS])
def test_classics(path: Path) -> None:
    model = reweighted(onnx.load(path))
    feeds = drawn(model)
    (wanted,) = by_runtime(model, feeds)
    assert 1e-3 < wanted.std() < 1e7  # neither dead nor near the end of f32
    (found,) = backend.run_model(model, feeds)
    assert found.shape == wanted.shape
    assert far(found, wanted) < 1e-4


@pytest.mark.parametrize("name", ["shufflenet", "squeezenet"])
def test_another_order_of_weights_would_show(name: str) -> None:
    """Each weight with its last two axes turned round, and with its channels exchanged."""
    model = reweighted(onnx.load(LIGHT / f"light_{name}.onnx"))
    feeds = drawn(model)
    (wanted,) = by_runtime(model, feeds)
    initial = {each.name: each for each in model.graph.initializer}
    for node in [each for each in model.graph.node if each.op_type == "Conv"][::9]:
        kept = initial[node.input[1]].SerializeToString()
        weight = numpy_helper.to_array(initial[node.input[1]])
        for other in (weight.swapaxes(-1, -2), weight[::-1], weight[:, ::-1]):
            if np.array_equal(other, weight):
                continue
            made = numpy_helper.from_array(np.ascontiguousarray(other), node.input[1])
            initial[node.input[1]].CopyFrom(made)
            assert far(by_runtime(model, feeds)[0], wanted) > 1e-2
        initial[node.input[1]].ParseFromString(kept)


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
