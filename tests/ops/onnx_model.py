"""Runs one ONNX operator in ONNX Runtime."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

Real = NDArray[np.float64]
Constant = NDArray[np.int64] | NDArray[np.float32] | None
Attribute = int | float | str | Sequence[int]
OPSET = 22


class OnnxOperator:
    """One operator on operands whose extents are open.

    `constants` are operands that follow and never change; None leaves one out. Operands and result
    are float32 unless `kinds` and `result` say otherwise.
    """

    def __init__(
        self,
        name: str,
        ranks: Sequence[int],
        attributes: Mapping[str, Attribute],
        constants: Sequence[Constant] = (),
        kinds: Sequence[np.dtype] = (),
        result: DTypeLike = np.float32,
    ) -> None:
        self.kinds = [*kinds] or [np.dtype(np.float32)] * len(ranks)
        element = helper.np_dtype_to_tensor_dtype
        names = [f"x{number}" for number in range(len(ranks))]
        known = {f"c{number}": c for number, c in enumerate(constants) if c is not None}
        given = [f"c{number}" if c is not None else "" for number, c in enumerate(constants)]
        inputs = [
            helper.make_tensor_value_info(x, element(kind), [None] * rank)
            for x, rank, kind in zip(names, ranks, self.kinds, strict=True)
        ]
        output = helper.make_tensor_value_info("y", element(np.dtype(result)), None)
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
        """The result of operands rounded to their types."""
        pairs = zip(operands, self.kinds, strict=True)
        feeds = {f"x{number}": x.astype(kind) for number, (x, kind) in enumerate(pairs)}
        result: NDArray[np.generic] = self.session.run(["y"], feeds)[0]
        return result.astype(np.float64) if result.dtype == np.float32 else result


def run_onnx(
    name: str,
    operands: Sequence[Real],
    attributes: Mapping[str, Attribute],
    constants: Sequence[Constant] = (),
) -> Real:
    """One operator's result on these operands."""
    return OnnxOperator(name, [x.ndim for x in operands], attributes, constants)(*operands)
