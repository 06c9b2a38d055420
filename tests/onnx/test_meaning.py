"""What nodes mean, where another reading would give other numbers without a word."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import cnnc.onnx_backend as backend
from cnnc.base.errors import InternalError
from cnnc.onnx import loading
from cnnc.onnx.loading import read_flat, to_model
from cnnc.onnx.text import plain_text

Array = NDArray[np.generic]


def node_model(
    op: str,
    operands: Sequence[str],
    shape: Sequence[int],
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
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["h"], name="/1.0/Sigmoid"),
        helper.make_node("Sub", ["one", "h"], ["y"]),
    ]
    nodes[0].name = "1.0"
    model = node_model("Relu", ["x"], [1, 3], known={"one": np.float32([1])})
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert [stage.name for stage in read_flat(model).stages] == ["1.0", "y"]
    np.testing.assert_array_equal(run(model, np.zeros((1, 3), np.float32)), np.full((1, 3), 0.5))
    nodes = [
        helper.make_node("Mul", ["x", "one"], ["h"], name="1.0"),
        helper.make_node("Add", ["h", "one"], ["y"], name="2.0"),
    ]


def test_a_text_that_says_something_else_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    model = node_model("Sub", ["x", "half"], [1, 3], known={"half": np.float32([0.5])})

    def wrong(net: Any) -> tuple[str, dict[str, Array]]:
        text, arrays = plain_text(net)
        return text.replace("sub(x, 0.5)", "sub(0.5, x)"), arrays

    monkeypatch.setattr(loading, "plain_text", wrong)
    with pytest.raises(InternalError, match="became another"):
        to_model(read_flat(model))
