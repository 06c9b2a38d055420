"""ONNX models of float16 and bfloat16: held and computed as float32."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cnnc
import cnnc.onnx
import cnnc.onnx_backend as backend
from cnnc.base.errors import UserError
from cnnc.onnx.importing import import_model

KINDS = {
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}


def model_of(*nodes: onnx.NodeProto, kind: int, result: int = 0, **initial: np.ndarray):  # type: ignore[no-untyped-def]
    """A model of one input and one output."""
    x = helper.make_tensor_value_info("x", kind, [1, 4])
    y = helper.make_tensor_value_info("y", result, None)
    tensors = [numpy_helper.from_array(each, name) for name, each in initial.items()]
    graph = helper.make_graph([*nodes], "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("by", ["reference", "native"])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_results_have_the_models_type(kind: int, declared: bool, by: str) -> None:
    dtype = KINDS[kind]
    weight = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]]).astype(dtype)
    nodes = (helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"]))
    model = model_of(*nodes, kind=kind, result=kind * declared, w=weight)
    x = np.array([[1.1, 2.2, 3.3, 4.4]]).astype(dtype)
    (found,) = backend.run_model(model, [x], backend=by)
    assert found.dtype == dtype
    exact = (x.astype(np.float32) @ weight.astype(np.float32)).astype(dtype)
    np.testing.assert_array_equal(found, exact)
    with pytest.raises(UserError, match="takes"):
        backend.run_model(model, [x.astype(np.float32)])


@pytest.mark.parametrize("by", ["reference", "native"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cast_in_the_graph_rounds(kind: int, by: str) -> None:
    """To infinity, and to what a comparison or an integer after it sees."""
    x = np.array([[1e5, 2049, 3e38, -1 - 2.0**-9]], np.float32)
    nodes = (
        helper.make_node("Cast", ["x"], ["h"], to=kind),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    )
    (found,) = backend.run_model(model_of(*nodes, kind=TensorProto.FLOAT), [x], backend=by)
    with np.errstate(over="ignore"):
        exact = x.astype(KINDS[kind])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact.astype(np.float32))
    like = (
        helper.make_node("CastLike", ["x", "l"], ["h"]),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.INT64),
    )
    model = model_of(*like, kind=TensorProto.FLOAT, l=np.zeros(1, KINDS[kind]))
    (whole,) = backend.run_model(model, [x[:, 1:2].repeat(4, 1)], backend=by)
    assert whole[0, 0] == int(np.float32(2049).astype(KINDS[kind]))


def test_what_is_between_is_not_rounded() -> None:
    """Excess precision: 60000 + 60000 is infinite in float16, and half of it is not here."""
    nodes = (helper.make_node("Add", ["x", "x"], ["h"]), helper.make_node("Mul", ["h", "c"], ["y"]))
    model = model_of(*nodes, kind=TensorProto.FLOAT16, c=np.array(0.5, np.float16))
    x = np.full((1, 4), 60000, np.float16)
    (found,) = backend.run_model(model, [x])
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("kind", KINDS)
def test_as_a_network_it_is_one_of_float32(kind: int, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Which takes arrays of the narrow type, and the report says so."""
    weight = np.array([[0.1], [0.3], [0.5], [0.7]]).astype(KINDS[kind])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    made = import_model(model_of(node, kind=kind, w=weight), tmp_path)
    name = KINDS[kind].name
    assert {each.node for each in made.report if each.operator == f"{name} tensor"} == {"x", "w"}
    x = np.array([[1.1, 2.2, 3.3, 4.4]]).astype(KINDS[kind])
    compiled = cnnc.load(made.path).compile()
    np.testing.assert_array_equal(compiled(x)["y"], compiled(x.astype(np.float32))["y"])
    assert compiled(x)["y"].dtype == np.float32


def test_rounding_comes_back_from_an_export() -> None:
    text = "cnn 1\nnet n { input x: f32[N, 4]\noutput y = x -> round_to(bf16) -> round_to(f16) }\n"
    model = cnnc.load_text(text)
    x = np.array([[1 / 3, 1e5, -1e-7, 2049]], np.float32)
    again = cnnc.onnx.load(cnnc.onnx.export(model))
    np.testing.assert_array_equal(again.reference(x=x)["y"], model.reference(x=x)["y"])


def test_a_node_alone() -> None:
    x = np.array([1.0, -2.0], np.float16)
    (found,) = backend.run_node(helper.make_node("Abs", ["x"], ["y"]), [x])
    np.testing.assert_array_equal(found, np.abs(x))
    assert found.dtype == np.float16
