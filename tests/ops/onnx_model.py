"""Runs one ONNX operator in ONNX Runtime."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Real = NDArray[np.float64]
Constant = NDArray[np.int64] | NDArray[np.float32] | None
Attribute = int | float | str | Sequence[int]
OPSET = 22


class OnnxOperator:
    """One operator on float32 operands whose extents are open.

    `constants` are operands that follow and never change; None leaves one out.
    """

    def __init__(
        self,
        name: str,
        ranks: Sequence[int],
        attributes: Mapping[str, Attribute],
        constants: Sequence[Constant] = (),
    ) -> None:
        names = [f"x{number}" for number in range(len(ranks))]
        known = {f"c{number}": c for number, c in enumerate(constants) if c is not None}
        given = [f"c{number}" if c is not None else "" for number, c in enumerate(constants)]
        inputs = [
            helper.make_tensor_value_info(x, TensorProto.FLOAT, [None] * rank)
            for x, rank in zip(names, ranks, strict=True)
        ]
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        node = helper.make_node(name, [*names, *given], ["y"], **attributes)
        initial = [numpy_helper.from_array(value, key) for key, value in known.items()]
        graph = helper.make_graph([node], "one", inputs, [output], initial)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def __call__(self, *operands: Real) -> Real:
        """The result of operands rounded to float32."""
        feeds = {f"x{number}": x.astype(np.float32) for number, x in enumerate(operands)}
        result: NDArray[np.float32] = self.session.run(["y"], feeds)[0]
        return result.astype(np.float64)


def run_onnx(
    name: str,
    operands: Sequence[Real],
    attributes: Mapping[str, Attribute],
    constants: Sequence[Constant] = (),
) -> Real:
    """One operator's result on these operands."""
    return OnnxOperator(name, [x.ndim for x in operands], attributes, constants)(*operands)
