"""What nodes mean, where another reading would give other numbers without a word."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import cnnc.onnx
import cnnc.onnx_backend as backend
from cnnc.base.errors import InternalError, UserError
from cnnc.onnx import loading
from cnnc.onnx.loading import read_flat, to_model
from cnnc.onnx.text import plain_text
from tests.onnx.random_models import with_known_inputs
from tests.onnx.runtime import run_onnx

Array = NDArray[np.generic]


def node_model(
    op: str,
    operands: Sequence[str],
    shape: Sequence[int | str],
    opset: int = 21,
    known: dict[str, Array] | None = None,
    kind: int = TensorProto.FLOAT,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node; `x` is its input."""
    node = helper.make_node(op, operands, ["y"], **attributes)
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_empty_tensor_value_info("y")
    initial = [numpy_helper.from_array(array, name) for name, array in (known or {}).items()]
    graph = helper.make_graph([node], "net", [x] if "x" in operands else [], [y], initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto, *given: Array, by: str = "reference") -> Array:
    """The first result."""
    found: Array = backend.run_model(model, [*given], backend=by)[0]
    return found


def test_a_number_is_no_stage_of_that_name() -> None:
    model = node_model("Relu", ["x"], [1, 3], known={"one": np.float32([1])})
    model.graph.ClearField("node")
    model.graph.node.append(helper.make_node("Sigmoid", ["x"], ["h"], name="1.0"))
    model.graph.node.append(helper.make_node("Sub", ["one", "h"], ["y"]))
    assert [stage.name for stage in read_flat(model).stages] == ["1.0", "y"]
    np.testing.assert_array_equal(run(model, np.zeros((1, 3), np.float32)), np.full((1, 3), 0.5))


def test_a_text_that_says_something_else_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    model = node_model("Sub", ["x", "half"], [1, 3], known={"half": np.float32([0.5])})

    def wrong(net: Any) -> tuple[str, dict[str, Array]]:
        text, arrays = plain_text(net)
        return text.replace("sub(x, 0.5)", "sub(0.5, x)"), arrays

    monkeypatch.setattr(loading, "plain_text", wrong)
    with pytest.raises(InternalError, match="became another"):
        to_model(read_flat(model))


def expected(model: onnx.ModelProto, x: Array) -> Array:
    """What ONNX Runtime computes."""
    (found,) = run_onnx(model, {"x": x}).values()
    return found


def check(model: onnx.ModelProto, x: Array) -> None:
    """The reference computes what ONNX Runtime does, and so it is where x is known."""
    wanted = expected(model, x)
    np.testing.assert_allclose(run(model, x), wanted, rtol=1e-5, atol=1e-6)
    again, feeds = with_known_inputs(model, {"x": x})
    np.testing.assert_allclose(run(again, *feeds.values()), wanted, rtol=1e-5, atol=1e-6)


def refused(model: onnx.ModelProto, why: str) -> None:
    """cnnc does not take it."""
    with pytest.raises(UserError, match=why):
        cnnc.onnx.load(model)


X = np.random.default_rng(0).normal(size=(1, 2, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("by", ["reference", "native"])
@pytest.mark.parametrize(
    ("channels", "group", "most_bias"), [(1024, 1, 1), (256, 2, 1000), (256, 1, 2**27)]
)
def test_sums_of_quantised_layers_are_exact(
    channels: int, group: int, most_bias: int, by: str
) -> None:
    """Far above 2^24, with weights that cancel out at last."""
    rng = np.random.default_rng(channels)
    weight = rng.integers(-127, 128, (4, channels // group, 3, 3)).astype(np.int8)
    weight[:2] = 127
    weight[:2, channels // group // 2 :] = -127
    x = rng.integers(0, 256, (1, channels, 6, 6)).astype(np.uint8)
    bias = rng.integers(-most_bias, most_bias, 4).astype(np.int32)
    known: dict[str, Array] = {
        "xs": np.float32(0.02), "xz": np.uint8(3), "w": weight, "ws": np.float32(0.01),
        "wz": np.int8(0), "ys": np.float32(20 if most_bias < 2**20 else 100), "yz": np.uint8(128),
        "b": bias,
    }  # fmt: skip
    model = node_model(
        "QLinearConv", ["x", *known], x.shape, known=known, kind=TensorProto.UINT8, group=group
    )
    held = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64) - 3, (3, 3), (2, 3))[0]
    parts = held.reshape(group, channels // group, 4, 4, 3, 3)
    own = weight.astype(np.int64).reshape(group, 4 // group, channels // group, 3, 3)
    total = np.einsum("gchwij,gocij->gohw", parts, own).reshape(1, 4, 4, 4)
    total += bias.reshape(-1, 1, 1)
    factor = np.float32(np.float32(np.float32(0.02) * np.float32(0.01)) / known["ys"])
    wanted = np.clip(np.rint(total.astype(np.float32) * factor) + 128, 0, 255)
    np.testing.assert_array_equal(run(model, x, by=by), wanted.astype(np.uint8))


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "L1", "L2", "SumSquare", "LogSum", "Prod"])
def test_reductions_along_no_axis(op: str) -> None:
    model = node_model(f"Reduce{op}", ["x"], X.shape, 18, noop_with_empty_axes=1)
    check(model, np.abs(X) if op == "LogSum" else X)


def test_old_forms_of_known_nodes() -> None:
    check(node_model("Softmax", ["x"], X.shape, 11, axis=1), X)
    for op in ("Add", "Sub", "Mul", "Div"):
        known = {"b": np.float32([2, 3])}
        model = node_model(op, ["x", "b"], X.shape, 6, known, broadcast=1, axis=1)
        wanted = getattr(np, {"Add": "add", "Sub": "subtract", "Mul": "multiply"}.get(op, "divide"))
        for model_x in ([X], []):
            if not model_x:
                model.graph.initializer.append(numpy_helper.from_array(X, "x"))
                model.graph.ClearField("input")
            found = run(model, *model_x)
            np.testing.assert_allclose(found, wanted(X, [[[2]], [[3]]]), rtol=1e-6)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 0.6, 0.7), (1, 1, 0.5, 2), (1, 0.5, 1.5, 1)])
def test_the_first_resize_rounds_up_where_it_shrinks(mode: str, scales: tuple[float, ...]) -> None:
    known = {"s": np.float32(scales)}
    model = node_model("Resize", ["x", "s"], X.shape, 10, known, mode=mode)
    np.testing.assert_allclose(run(model, X), expected(model, X), rtol=1e-5, atol=1e-6)


def test_limits_that_are_infinite() -> None:
    for limit in (np.inf, -np.inf):
        known = {"v": np.float32(limit)}
        low = run(node_model("Clip", ["x", "v"], X.shape, known=known), X)
        np.testing.assert_array_equal(low, np.maximum(X, limit))
        high = run(node_model("Clip", ["x", "", "v"], X.shape, known=known), X)
        np.testing.assert_array_equal(high, np.minimum(X, limit))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_padding_with_infinity(value: float) -> None:
    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    wanted = np.pad(X, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=value)
    old = node_model("Pad", ["x"], X.shape, 10, pads=pads, value=value)
    new = node_model(
        "Pad", ["x", "p", "v"], X.shape, known={"p": np.array(pads), "v": np.float32(value)}
    )
    for model in (old, new):
        np.testing.assert_array_equal(run(model, X), wanted)


def test_what_implementations_disagree_on_is_refused() -> None:
    weight = np.ones((2, 3, 2, 2), np.float32)
    for rule in ("SAME_UPPER", "SAME_LOWER"):
        refused(
            node_model(
                "ConvTranspose", ["x", "w"], X.shape, known={"w": weight},
                strides=[3, 3], auto_pad=rule,
            ),
            "disagree",
        )  # fmt: skip
        for op in ("AveragePool", "LpPool", "MaxPool"):
            given: dict[str, Any] = {"kernel_shape": [2, 2], "dilations": [2, 2]}
            refused(node_model(op, ["x"], X.shape, 22, auto_pad=rule, **given), "disagree")
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}
    known = {"r": np.float32([0, 0, 0, 0, 1, 1, 1, 1]), "s": np.float32([1, 1, 1.5, 1.3])}
    refused(node_model("Resize", ["x", "r", "s"], X.shape, 13, known, **crop), "disagree")
    known = {"r": np.float32([0, 0, 0, 0.2, 1, 1, 1, 0.9]), "s": np.float32([1, 1, 2, 1])}
    refused(node_model("Resize", ["x", "r", "s"], X.shape, 13, known, **crop), "disagree")


def test_old_layers_are_for_training_unless_they_say_otherwise() -> None:
    known = {name: np.ones(2, np.float32) for name in "abcd"}
    refused(node_model("BatchNormalization", ["x", *known], X.shape, 6, known), "as in training")
    refused(node_model("Dropout", ["x"], X.shape, 6), "as in training")
    for op, more in (("BatchNormalization", known), ("Dropout", {})):
        cnnc.onnx.load(node_model(op, ["x", *more], X.shape, 6, more, is_test=1))


def test_nodes_that_the_standard_has_not() -> None:
    refused(node_model("Relu", ["x"], X.shape, slope=0.5), "no attribute `slope`")
    refused(node_model("Relu", ["x", "x"], X.shape), "takes no 2 operands")
    refused(node_model("Gelu", ["x"], X.shape, 17), "opset 17 has no such operator")
    refused(node_model("MaxPool", ["x"], X.shape, kernel_shape=[2, 2], pads=[0, 0]), "`pads` has 2")
    refused(node_model("Relu", ["x"], X.shape, 9999), "is for opset 9999")


def test_dims_that_are_none() -> None:
    model = node_model("Relu", ["x"], ["N", 3, "H"])
    refused_by = {"N": "'3', which is no", "H": "-1, which is no", "W": "open are N, x:0, H, x:2"}
    values: dict[str, Any] = {"N": "3", "H": -1, "W": 4}
    for name, value in values.items():
        with pytest.raises(UserError) as caught:
            cnnc.onnx.load(model, {"H": 2, name: value})
        assert refused_by[name] in str(caught.value)


def test_an_output_that_is_an_input() -> None:
    model = node_model("Relu", ["x"], [1, 3])
    model.graph.output.append(helper.make_empty_tensor_value_info("x"))
    loaded = cnnc.onnx.load(model)
    assert [*loaded.inputs] == ["x"]
    assert [*loaded.outputs] == ["y", "x_1"]


@pytest.mark.parametrize("name", ["bvlc_alexnet", "vgg19", "zfnet512"])
def test_large_constants_of_small_models(name: str) -> None:
    """Layers of a hundred million weights that the model makes of one number."""
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    model = cnnc.onnx.load(light / f"light_{name}.onnx")
    weights = [node.constant for node in model.graph.nodes if node.is_constant]
    assert max(each.size for each in weights if each is not None) > 2**24


def test_sizes_of_known_results_are_exact() -> None:
    ones = np.ones((128, 128), np.float32), np.ones((128, 2000), np.float32)
    product = node_model("MatMul", ["a", "b"], [], known=dict(zip("ab", ones, strict=True)))
    assert run(product).shape == (128, 2000)
    table = {"t": np.ones((5000, 64), np.float32), "i": np.arange(4000)}
    assert run(node_model("Gather", ["t", "i"], [], known=table)).shape == (4000, 64)
    many = {"t": np.zeros((2**13, 2**12), np.float32)}
    assert run(node_model("Transpose", ["t"], [], known=many)).shape == (2**12, 2**13)


def test_expanding_needs_no_weights() -> None:
    for shape, wanted in (
        ((2, 1, 3, 1), (2, 4, 3, 5)),
        ((1, 3), (4, 3)),
        ((1, 2, 1, 1), (4, 2, 3, 3)),
    ):
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        model = node_model("Expand", ["x", "s"], shape, known={"s": np.array(wanted)})
        assert read_flat(model).arrays == {}
        np.testing.assert_array_equal(run(model, x), np.broadcast_to(x, wanted))


def test_numbers_beside_the_usual_ones() -> None:
    known = {name: np.ones(2, np.float32) for name in "abcd"}
    for eps, shown in ((1.0000001e-5, {}), (0.001, {"eps": 0.001}), (1.2345678e-5, None)):
        model = node_model("BatchNormalization", ["x", *known], X.shape, 15, known, epsilon=eps)
        (stage,) = read_flat(model).stages
        assert stage.attributes == ({"eps": 1.2345678e-5} if shown is None else shown)


def test_indices_in_no_order_are_single_slices() -> None:
    places = [0, 5, 1, 6, 7, 8, 2, 4, 6]
    x = np.arange(18, dtype=np.float32).reshape(2, 9)
    model = node_model("Gather", ["x", "i"], x.shape, axis=1, known={"i": np.array(places)})
    stages = read_flat(model).stages
    assert [each.op for each in stages] == ["slice"] * 5 + ["concat"]
    np.testing.assert_array_equal(run(model, x), x[:, places])
