"""The onnx package's own tests of backends: each passes or is refused, none is wrong."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import cnnc.onnx_backend as backend
from cnnc.onnx.registry import IMPORTERS
from tests.onnx.suite import KINDS, Outcome, cases, generated, outcomes, written

EXCEPTIONS = (
    "as in training",
    "has no elements",
    "have no elements",
    "no tensors of float64",  # what ONNX's reference makes of no elements
    "needs floating point, and the operand is i",
    "its result 1 is used",
    "corners are aligned, and an extent times its scale is no whole number",
    "it keeps the aspect ratio, and sizes would be rounded",
)
"""Why cases of float32 whose operators cnnc has are refused all the same."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_case_is_wrong(kind: str) -> None:
    assert [each for each in outcomes(kind) if each.wrong] == []


@pytest.mark.parametrize(
    ("kind", "step"),
    [("node", 5), ("simple", 1), ("pytorch-converted", 1), ("pytorch-operator", 1)],
)
def test_machine_code_agrees(kind: str, step: int) -> None:
    assert [each for each in outcomes(kind, "native", step) if each.wrong] == []


def test_what_is_of_float32_and_known_passes() -> None:
    known = {*IMPORTERS.names, "Constant", "ConstantOfShape"}
    missing = []
    for kind in KINDS:
        by_name = {each.name: each.refused for each in outcomes(kind)}
        for case in cases(kind):
            refused = by_name[case.name]
            if refused and case.model is not None and is_plain(case.model, known):
                missing += [] if any(why in refused for why in EXCEPTIONS) else [refused]
    assert missing == []


def is_plain(model: onnx.ModelProto, known: set[str]) -> bool:
    """Whether all tensors of floating point are float32, and all operators have an importer."""
    ends = [*model.graph.input, *model.graph.output]
    if not all(each.type.HasField("tensor_type") for each in ends):
        return False
    kinds = {each.type.tensor_type.elem_type for each in ends}
    ranks = [len(each.type.tensor_type.shape.dim) for each in ends]
    return (
        TensorProto.FLOAT in kinds
        and kinds <= {TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL}
        and {node.op_type for node in model.graph.node} <= known
        and max(ranks, default=0) <= 4
    )


def test_the_counts_of_the_page() -> None:
    if f"Of onnx {onnx.__version__}:" not in written():
        pytest.skip("the page counts another version of onnx")
    assert written() == generated(), "run `python -m tests.onnx.suite`"


def test_the_interface() -> None:
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    a, b = np.ones((2, 3), np.float32), np.arange(3, dtype=np.float32)
    (c,) = backend.run_node(node, [a, b])
    np.testing.assert_array_equal(c, a + b)
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node],
            "g",
            [onnx.helper.make_tensor_value_info(name, 1, ["N", 3]) for name in "ab"],
            [onnx.helper.make_tensor_value_info("c", 1, None)],
        )
    )
    assert backend.is_compatible(model)
    result = backend.run_model(model, {"b": a, "a": a})
    np.testing.assert_array_equal(result.c, 2 * a)


def test_outcomes_tell_apart() -> None:
    assert Outcome("a", "node") != Outcome("a", "node", wrong="so")
