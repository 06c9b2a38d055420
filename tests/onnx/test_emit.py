"""Every operator means the same in ONNX Runtime."""

import numpy as np
import pytest
from onnx import checker

from cnnc.onnx.emit.model import onnx_model
from cnnc.onnx.emit.writer import emit
from cnnc.ops.spec import Operator, operators
from tests.onnx.runtime import apart, graph_of, run_onnx
from tests.ops.cases import CASES, Case, stored

TOLERANCE = 2e-5
NAMES = sorted({case.op.name for case in CASES})


@pytest.mark.parametrize("name", NAMES)
def test_samples_mean_the_same(name: str) -> None:
    """Every sample, as reference and in ONNX Runtime."""
    wrong: dict[str, object] = {}
    for case in (each for each in CASES if each.op.name == name):
        try:
            if (far := _difference(case)) > TOLERANCE:
                wrong[str(case)] = far
        except Exception as error:  # ONNX Runtime has many kinds
            wrong[str(case)] = str(error)
    assert wrong == {}


def _difference(case: Case) -> float:
    graph = graph_of(case)
    model = onnx_model(graph)
    checker.check_model(model, full_check=True)
    operands = [stored(operand) for operand in case.operands]
    inputs = {node.name: operands[place] for place, node in enumerate(graph.inputs)}
    wanted = case.op.reference(*case.operands)
    return apart(np.asarray(wanted), run_onnx(model, inputs)["y"])


def test_every_operator_is_written() -> None:
    """The registry, not only what has samples."""
    default = emit.dispatch(object)
    made = [each for each in operators() if issubclass(each, Operator)]
    assert [each.name for each in made if emit.dispatch(each) is default] == []
