"""The models that the peers of the benchmark are given compute what the networks say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from peers.agreement import compare
from peers.main import zoo
from peers.prepare import draw_inputs
from peers.to_onnx.model import onnx_model
from peers.to_onnx.writer import emit
from peers.unsupported import UnsupportedError

import cnnc
from cnnc.base.layout import Layout
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from tests.ops.cases import CASES, Case, stored

Array = NDArray[np.generic]
ZOO = zoo()
SMALL = ("digits", "ds_cnn", "lenet5", "pooling", "tcn", "two_inputs")
"""Networks whose references take a moment."""
REFUSED = {
    "lrn": "even numbers of channels, and what is no image",
    "pool": "padding as wide as the window, windows in it, and norms of windows that are cut",
    "resize": "cubic, but of images",
}
"""Operators of which the writer refuses some samples, and which."""


def known(op: object) -> bool:
    """Whether the writer has a function for the operator."""
    return emit.dispatch(type(op)) is not emit.dispatch(object)


def graph_of(case: Case) -> Graph:
    """A graph of one operator; its parameters are constants."""
    values = [stored(operand) for operand in case.operands]
    own = len(case.parameters)
    nodes = []
    for place, (value, type) in enumerate(zip(values, case.types, strict=True)):
        is_input = place < len(values) - own
        op = Input(f"x{place}") if is_input else Constant(value)
        nodes.append(Node(op, (), type, f"x{place}"))
    node = Node(case.op, tuple(nodes), case.op.infer(*case.types), "y")
    return Graph("one", tuple(nodes[: len(values) - own]), {"y": node})


def run(graph: Graph, inputs: dict[str, Array]) -> dict[str, Array]:
    """The outputs by name from ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    model = onnx_model(graph).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def results(case: Case) -> tuple[dict[str, Array], dict[str, Array]]:
    """What the reference says, and what the model computes."""
    operands = [stored(operand) for operand in case.operands]
    count = len(operands) - len(case.parameters)
    inputs = {f"x{place}": operands[place] for place in range(count)}
    right = np.asarray(case.op.reference(*case.operands), np.float64)
    return {"y": right}, run(graph_of(case), inputs)


def cases() -> Iterator[Case]:
    """The samples of every operator that the writer knows."""
    return (case for case in CASES if known(case.op))


def test_operators_mean_the_same() -> None:
    """Every sample of every known operator, but those that are refused by name."""
    wrong: dict[str, str] = {}
    refused = set()
    for case in cases():
        try:
            wanted, found = results(case)
        except UnsupportedError:
            refused.add(case.op.name)
            continue
        with np.errstate(invalid="ignore"):
            _, reason = compare(wanted, found)
        if reason:
            wrong[str(case)] = reason
    assert wrong == {}
    assert refused == set(REFUSED)


@pytest.mark.parametrize("name", ZOO)
def test_every_operator_of_the_zoo_is_known(name: str) -> None:
    """Whatever stands in a network can be written."""
    model = cnnc.load(ZOO[name], weights=False)
    missing = {node.op.label for node in model.graph.nodes if not (node.is_leaf or known(node.op))}
    assert missing == set()


@pytest.mark.parametrize("name", SMALL)
def test_networks_compute_the_same(name: str) -> None:
    """Whole networks of the zoo, by their names of inputs and outputs."""
    model = cnnc.load(ZOO[name], batch=2)
    inputs = draw_inputs(model.graph)
    found = run(model.graph, inputs)
    assert [*found] == [*model.outputs]
    assert compare(model.reference(inputs), found)[1] is None


def test_the_whole_zoo_is_there() -> None:
    """And the digits."""
    folder = Path(__file__).resolve().parents[2] / "examples" / "zoo"
    assert {*ZOO} == {path.stem for path in folder.glob("*.cnn")} | {"digits"}


def test_an_unknown_operator_is_named() -> None:
    """No network is written without one of its layers."""
    text = "cnn 1\nnet n { input x: f32[1, 4, 8]\n output y = x -> layer_norm([1]) }"
    model = cnnc.load_text(text, weights=False)
    constant = Constant(np.ones((4,), np.float32))
    leaf = TensorType((4,), model.graph.inputs[0].type.dtype, Layout.plain(1))
    given = Node(constant, (), leaf, "w")
    (y,) = model.graph.outputs.values()
    whole = Node(y.op, (y.inputs[0], given, given), y.type, y.name)
    with pytest.raises(UnsupportedError, match=r"layer_norm\(axes=1\).*`y`"):
        onnx_model(Graph("n", model.graph.inputs, {"y": whole}))


@pytest.mark.parametrize("text", ["relu", "dropout -> id", "id"])
def test_outputs_that_share_a_tensor_have_their_names(text: str) -> None:
    """Results without an operator of their own are copied."""
    net = f"cnn 1\nnet n {{ input x: f32[1, 4]\n output a = x -> {text}, b = a, c = a -> id }}"
    model = cnnc.load_text(net)
    x = np.arange(-2, 2, dtype=np.float32).reshape(1, 4)
    found = run(model.graph, {"x": x})
    wanted = model.reference(x)
    assert [*found] == [*wanted]
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
