"""Runs models in ONNX Runtime, and says how far results are apart."""

from collections.abc import Mapping

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from cnnc.ir.graph import Constant, Graph, Input, Node
from tests.ops.cases import Case, stored

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]


def run_onnx(model: ModelProto | str, inputs: Arrays) -> dict[str, Array]:
    """The outputs by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


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


def apart(wanted: Array, found: Array) -> float:
    """The largest difference, relative to the largest element; infinite for other shapes."""
    if wanted.shape != found.shape:
        return float("inf")
    right, other = wanted.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        differs = np.where(right == other, 0, np.abs(right - other))
    both = np.isnan(right) & np.isnan(other)
    worst = float(np.where(both, 0, differs).max(initial=0))
    return worst / (float(np.nanmax(np.abs(right), initial=0)) or 1.0)
