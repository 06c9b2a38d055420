"""Models as networks: what becomes of inputs, outputs, names, open extents and functions."""

import pickle
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import cnnc.onnx
import cnnc.onnx_backend as backend
from cnnc.base.errors import UserError
from cnnc.onnx.loading import read_flat
from cnnc.onnx.reroll.rolled import roll
from cnnc.onnx.text import plain_text
from cnnc.onnx.tidy import tidy
from tests.onnx.runtime import run_onnx

Array = NDArray[np.generic]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str | None]],
    outputs: Sequence[str],
    opset: int = 17,
    **initial: Array,
) -> onnx.ModelProto:
    """A model of f32 inputs."""
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs.items()]
    made = [helper.make_empty_tensor_value_info(name) for name in outputs]
    known = [numpy_helper.from_array(array, name) for name, array in initial.items()]
    graph = helper.make_graph(list(nodes), "net", ends, made, known)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def relu(a: str = "x", b: str = "y", name: str = "") -> onnx.NodeProto:
    """One node."""
    return helper.make_node("Relu", [a], [b], name=name)


def test_all_that_is_refused_is_in_one_error() -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        relu("a", "b", "harmless"),
        helper.make_node("Loop", ["b"], ["c"], name="second"),
        helper.make_node("Own", ["c"], ["y"], name="third", domain="elsewhere"),
    ]
    with pytest.raises(UserError) as caught:
        cnnc.onnx.load(model_of(nodes, {"x": [1, 3, 3]}, ["y"]))
    messages = [each.message for each in caught.value.diagnostics]
    assert [message.split("`")[1] for message in messages] == ["first", "second", "third"]
    assert "elsewhere" in messages[2]


def test_open_extents() -> None:
    model = model_of([relu()], {"x": ["N", 3, "H", None]}, ["y"])
    with pytest.raises(UserError, match="H, x:3"):
        cnnc.onnx.load(model)
    loaded = cnnc.onnx.load(model, {"N": 2, "H": 5, "x:3": 7})
    assert loaded.inputs == {"x": (2, 3, 5, 7)}
    assert cnnc.onnx.load(model, {"H": 5, "x:3": 7}).batch == 1


def test_another_batch() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "one"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    lists = {"zero": [0], "one": [1], "rest": [-1]}
    model = model_of(
        nodes, {"x": ["N", 3, 4]}, ["y"], **{name: np.array(v) for name, v in lists.items()}
    )
    x = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    compiled = cnnc.onnx.load(model).compile(batch=(1, 8), backend="reference")
    np.testing.assert_array_equal(compiled(x)["y"], x.reshape(5, 12))


def test_inputs_that_are_no_batches_of_samples() -> None:
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["c"]),
        helper.make_node("Mul", ["c", "s"], ["y"]),
    ]
    model = model_of(nodes, {"a": [2, 3], "b": [3], "s": []}, ["y"])
    assert cnnc.onnx.load(model).inputs == {"a": (1, 2, 3), "b": (1, 3), "s": (1, 1)}
    a, b = np.ones((2, 3), np.float32), np.arange(3, dtype=np.float32)
    (y,) = backend.run_model(model, [a, b, np.float32(2)], backend="reference")
    np.testing.assert_array_equal(y, [6, 6])


def test_outputs_that_are_inputs_or_constants() -> None:
    model = model_of([relu()], {"x": [1, 2]}, ["x", "c", "y", "y"], c=np.ones(3, np.float32))
    del model.graph.output[-1]
    x = np.array([[-1, 1]], np.float32)
    found = backend.run_model(model, [x])
    for one, other in zip(found, [x, np.ones(3), [[0, 1]]], strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_does_not_depend_on_inputs() -> None:
    model = model_of(
        [helper.make_node("Add", ["c", "c"], ["y"])], {}, ["y"], c=np.ones(3, np.float32)
    )
    (y,) = backend.run_model(model, [])
    np.testing.assert_array_equal(y, [2, 2, 2])
    with pytest.raises(UserError, match="do not depend"):
        cnnc.onnx.load(model)


def test_inputs_that_are_initializers() -> None:
    weight = np.ones((4, 3, 1, 1), np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    model = model_of(nodes, {"x": [1, 3, 2, 2], "w": [4, 3, 1, 1]}, ["y"], w=weight)
    assert cnnc.onnx.load(model).inputs == {"x": (1, 3, 2, 2)}
    (y,) = backend.run_model(model, [np.ones((1, 3, 2, 2), np.float32)])
    np.testing.assert_array_equal(y, np.full((1, 4, 2, 2), 3))


def test_functions_are_inlined() -> None:
    model = model_of([helper.make_node("twice", ["x"], ["y"], domain="own")], {"x": [1, 3]}, ["y"])
    imports = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "twice", ["a"], ["b"], body, imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert [stage.op for stage in read_flat(model).stages] == ["add"]


def test_names_are_those_of_weights_and_scopes() -> None:
    weights = {name: np.ones((3, 3, 1, 1), np.float32) for name in ("w1", "w2")}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["h"], name="/body/body.0/Conv"),
        helper.make_node("Conv", ["h", "w2"], ["g"]),
        relu("g", "y", "/body/act/Relu"),
    ]
    model = model_of(nodes, {"x": [1, 3, 2, 2]}, ["y"], **weights)
    model.graph.initializer[1].name = nodes[1].input[1] = "head.conv.weight"
    model.graph.node[1].input[1] = "head.conv.weight"
    net = read_flat(model)
    assert [stage.name for stage in net.stages] == ["body.0", "head.conv", "body.act.Relu"]
    assert list(net.arrays) == ["body.0.weight", "head.conv.weight"]
    assert [each.became for each in net.report] == ["`conv`", "`conv`", "`relu`"]


def test_the_text_of_a_flat_net() -> None:
    nodes = [
        helper.make_node("Add", ["x", "half"], ["input"]),
        helper.make_node("Add", ["input", "table"], ["y"]),
    ]
    known = {"half": np.array([0.5], np.float32), "table": np.ones((3, 1), np.float32)}
    text, arrays = plain_text(read_flat(model_of(nodes, {"x": [1, 3, 2]}, ["y"], **known)))
    assert "input_1 = add(x, 0.5)" in text
    assert list(arrays) == ["y_value"]
    assert text.rstrip().splitlines()[-2] == "  output y = y_1"


def test_an_old_softmax_takes_all_axes() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"], axis=1)
    x = np.random.default_rng(0).normal(size=(1, 2, 3)).astype(np.float32)
    for opset, axes in ((11, (1, 2)), (13, (1,))):
        (y,) = backend.run_model(model_of([node], {"x": [1, 2, 3]}, ["y"], opset), [x])
        np.testing.assert_allclose(y.sum(axes), 1, rtol=1e-6)


def test_other_values_compile_again() -> None:
    model = model_of([helper.make_node("Reshape", ["x", "shape"], ["y"])], {"x": [2, 6]}, ["y"])
    model.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, [2]))
    made = backend.prepare(model, backend="reference")
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    for shape in ([3, 4], [6, 2], [3, 4]):
        (y,) = made.run([x, np.array(shape)])
        np.testing.assert_array_equal(y, x.reshape(shape))


def test_models_pickle() -> None:
    weight = np.ones((4, 3, 1, 1), np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    model = cnnc.onnx.load(model_of(nodes, {"x": [1, 3, 2, 2]}, ["y"], w=weight))
    again = pickle.loads(pickle.dumps(model))
    x = np.ones((1, 3, 2, 2), np.float32)
    np.testing.assert_array_equal(again.reference(x)["y"], model.reference(x)["y"])


def test_without_the_package() -> None:
    script = (
        "import sys; sys.modules['onnx'] = None\n"
        "import cnnc.onnx\n"
        "from cnnc.base.errors import UserError\n"
        "try: cnnc.onnx.load('m.onnx')\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "E0802" in done.stdout
    assert "cnnc[onnx]" in done.stdout


def test_no_file(tmp_path: object) -> None:
    with pytest.raises(UserError, match="E0701"):
        cnnc.onnx.load(f"{tmp_path}/m.onnx")


def test_values_called_like_choices() -> None:
    """A choice of an attribute stays one where a value has its name."""
    nodes = [
        helper.make_node("Relu", ["max"], ["linear"]),
        helper.make_node("Resize", ["linear", "", "scales"], ["mean"], mode="linear"),
        helper.make_node("GlobalMaxPool", ["mean"], ["global"]),
        helper.make_node("ReduceMean", ["global"], ["half_pixel"], axes=[2], keepdims=0),
    ]
    scales = np.array([1, 1, 2, 2], np.float32)
    model = model_of(nodes, {"max": [1, 2, 3, 3]}, ["half_pixel", "linear"], scales=scales)
    x = np.arange(18, dtype=np.float32).reshape(1, 2, 3, 3)
    found = [*cnnc.onnx.load(model).compile(backend="reference")(x).values()]
    np.testing.assert_array_equal(found[0], [[[8], [17]]])
    np.testing.assert_array_equal(found[1], x)
    assert "resize(linear" in roll(tidy(read_flat(model)), "net.safetensors").text


@pytest.mark.parametrize("scale", [1.5, 2, 3])
def test_nearest_of_tensorflow(scale: float) -> None:
    """Opset 11 has coordinates for what TensorFlow does."""
    node = helper.make_node(
        "Resize",
        ["x", "", "scales"],
        ["y"],
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="tf_half_pixel_for_nn",
    )
    scales = np.array([1, 1, scale, scale], np.float32)
    empty = np.zeros(0, np.float32)
    node.input[1] = "roi"
    model = model_of([node], {"x": [1, 2, 6, 4]}, ["y"], 11, scales=scales, roi=empty)
    x = np.arange(48, dtype=np.float32).reshape(1, 2, 6, 4)
    (found,) = cnnc.onnx.load(model).compile(backend="reference")(x).values()
    np.testing.assert_array_equal(found, run_onnx(model, {"x": x})["y"])


def test_slopes_that_do_not_broadcast() -> None:
    """ONNX wants the result in the operand's shape."""
    nodes = [helper.make_node("PRelu", ["x", "s"], ["y"])]
    slopes = np.ones((2, 2), np.float32)
    with pytest.raises(UserError, match="do not broadcast"):
        cnnc.onnx.load(model_of(nodes, {"x": [1, 1, 2]}, ["y"], s=slopes))
