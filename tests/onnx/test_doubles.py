"""ONNX models of double, in and out."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import cnnc
import cnnc.onnx
import cnnc.onnx_backend as backend
from cnnc.base.dtype import DType
from cnnc.base.errors import UserError
from cnnc.ir.evaluate import widen
from cnnc.onnx.emit.model import onnx_model
from cnnc.onnx.importing import import_model
from tests.onnx.runtime import apart
from tests.ops.doubles import DOUBLES, Double

REFUSED = {"instance_norm", "group_norm", "layer_norm", "lrn"}
"""Operators some of whose samples have numbers that ONNX's attributes cannot have in double."""
MISTAKEN = {"lrn", "conv_transpose", "pool", "pool_argmax", "resize", "gelu", "erf", "cast"}
"""Operators that ONNX's reference computes otherwise, with numbers of float32, or not at all."""
NAMES = sorted({case.op.name for case in DOUBLES})


@pytest.mark.parametrize("name", NAMES)
def test_samples_mean_the_same(name: str) -> None:
    """In ONNX's reference: ONNX Runtime has few operators of double."""
    refused, found = 0, 0
    for case in (each for each in DOUBLES if each.op.name == name):
        try:
            model = onnx_model(case.graph)
        except UserError as error:
            refused += error.diagnostics[0].code == "E0904"
            continue
        checker.check_model(model, full_check=True)
        if name not in MISTAKEN:
            far = difference(case, model)
            assert far < (1e-5 if case.result.dtype is DType.F32 else 1e-12), case
        found += 1
    assert found or name in REFUSED
    assert not refused or name in REFUSED


def difference(case: Double, model: onnx.ModelProto) -> float:
    """How far the model's result is from the operator's reference."""
    inputs = {f"x{place}": value for place, value in enumerate(case.operands[: case.data])}
    with np.errstate(all="ignore"):
        wanted = case.op.reference(*map(widen, case.operands))
        found = ReferenceEvaluator(model).run(None, inputs)[0]
    return apart(np.asarray(wanted), found)


def model_of(*nodes: onnx.NodeProto, kind: int = TensorProto.DOUBLE, **initial: object):  # type: ignore[no-untyped-def]
    """A model of one input and one output."""
    x = helper.make_tensor_value_info("x", kind, [1, 4, 6, 6])
    y = helper.make_tensor_value_info("y", kind, None)
    tensors = [numpy_helper.from_array(np.asarray(each), name) for name, each in initial.items()]
    graph = helper.make_graph([*nodes], "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_a_network_of_double_is_computed_in_double(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Attributes, which ONNX holds as float32, are those numbers; text and weights keep them."""
    rng = np.random.default_rng(0)
    model = model_of(
        helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["h", *"smtv"], ["n"], epsilon=1e-3),
        helper.make_node("LeakyRelu", ["n"], ["r"], alpha=0.1),
        helper.make_node("Mul", ["r", "third"], ["q"]),
        helper.make_node("Selu", ["q"], ["z"]),
        helper.make_node("InstanceNormalization", ["z", "s", "m"], ["y"]),
        w=rng.normal(size=(4, 4, 3, 3)), b=rng.normal(size=4), s=rng.normal(size=4),
        m=rng.normal(size=4), t=rng.normal(size=4), v=rng.uniform(1, 2, 4), third=np.array(1 / 3),
    )  # fmt: skip
    x = rng.normal(size=(1, 4, 6, 6))
    wanted = ReferenceEvaluator(model).run(None, {"x": x})[0]
    for by in ("reference", "native"):
        (found,) = backend.run_model(model, [x], backend=by)
        assert found.dtype == np.float64
        assert apart(wanted, found) < 1e-13
    made = import_model(model, tmp_path)
    loaded = cnnc.load(made.path)
    assert apart(wanted, loaded.reference(x=x)["y"]) < 1e-13
    folded = import_model(model, tmp_path / "folded", fold_batchnorm=True)
    assert apart(wanted, cnnc.load(folded.path).reference(x=x)["y"]) < 1e-13


def test_weights_of_another_type_are_refused() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    with pytest.raises(UserError, match="its weight is float32, and it computes in f64"):
        cnnc.onnx.load(model_of(node, w=np.ones((1, 4, 1, 1), np.float32)))


def test_an_export_of_double_comes_back() -> None:
    text = """cnn 1
net n {
  input x: f64[N, 4, 6, 6]
  output y = (x -> conv(4, 3) -> batchnorm -> leaky_relu(0.1) -> hardswish) * 0.1 -> selu
  weights he
}
"""
    model = cnnc.load_text(text)
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 6))
    wanted = model.reference(x=x)["y"]
    exported = cnnc.onnx.export(model)
    assert {each.data_type for each in exported.graph.initializer} == {TensorProto.DOUBLE}
    again = cnnc.onnx.load(exported).reference(x=x)
    assert apart(wanted, again["y"]) < 1e-14
