"""Runs many ONNX operators as one model, so that one session serves them all."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.ops.onnx_model import OPSET, Attribute, Real


class OnnxBatch:
    """Operators are added one by one, each with operands of its own; `run` computes them all."""

    def __init__(self) -> None:
        self._nodes: list[object] = []
        self._constants: dict[int, object] = {}
        self._kept: list[Real] = []

    def add(self, name: str, operands: Sequence[Real], attributes: Mapping[str, Attribute]) -> int:
        """The number under which the result comes back; equal operands are stored once."""
        given = [self._constant(operand) for operand in operands]
        number = len(self._nodes)
        self._nodes.append(helper.make_node(name, given, [f"y{number}"], **attributes))
        return number

    def _constant(self, operand: Real) -> str:
        if id(operand) not in self._constants:
            self._kept.append(operand)  # or its id would be given away
            value = operand.astype(np.float32)
            self._constants[id(operand)] = numpy_helper.from_array(value, f"c{id(operand)}")
        return f"c{id(operand)}"

    def run(self) -> list[Real]:
        """All results, in order."""
        outputs = [
            helper.make_tensor_value_info(f"y{number}", TensorProto.FLOAT, None)
            for number in range(len(self._nodes))
        ]
        constants = list(self._constants.values())
        graph = helper.make_graph(self._nodes, "many", [], outputs, constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        return [np.asarray(y, np.float64) for y in session.run(None, {})]
