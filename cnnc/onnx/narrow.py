"""Types of floating point with 16 bits: held and computed as float32, which has all their numbers.

What operators of ONNX would round on the way is not rounded (*excess precision*); a `Cast` to such
a type is.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnc.base.dtype import DType
from cnnc.onnx.flat import Array
from cnnc.onnx.values import Flow, Known, Lost, Value

if TYPE_CHECKING:
    from onnx import NodeProto, ValueInfoProto

ROUNDINGS: Mapping[str, str] = {"float16": "f16", "bfloat16": "bf16"}
"""What the language calls the rounding to each of them."""


def narrow_type(dtype: np.dtype[np.generic]) -> str:
    """Its name, or "" for all other types."""
    return dtype.name if dtype.name in ROUNDINGS else ""


def narrow_dtype(name: str) -> np.dtype[np.generic]:
    """NumPy's type of this name."""
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(number_of(name))


def number_of(name: str) -> int:
    """ONNX's number of the type."""
    from onnx import TensorProto

    return int(TensorProto.DataType.Value(name.upper()))


def widened(value: Value) -> Value:
    """A known tensor of such a type as float32, exactly; everything else as it is."""
    if isinstance(value, Known) and narrow_type(value.array.dtype):
        return Known(wide(value.array))
    return value


def wide(array: Array) -> Array:
    """An array of such a type as float32, exactly."""
    return array.astype(np.float32) if narrow_type(array.dtype) else array


class Narrow:
    """Which tensors of a graph have such a type in ONNX."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}

    def of(self, name: str, value: Value | Lost | None) -> str:
        """The type of a tensor, or "" if it has another one."""
        if isinstance(value, Known):
            return narrow_type(value.array.dtype)
        return self.types.get(name, "")

    def mark(
        self, node: "NodeProto", operands: Sequence[Value | Lost | None], made: Sequence[Value]
    ) -> None:
        """Results of a node have the type of its operand, but where the operator says another."""
        kinds = [self.of(*pair) for pair in zip(node.input, operands, strict=True)]
        kind = self.result_type(node, kinds)
        only_first = node.op_type in ("LayerNormalization",)  # statistics are of float32
        for place, (name, value) in enumerate(zip(node.output, made, strict=False)):
            if isinstance(value, Flow) and value.dtype is DType.F32 and not (place and only_first):
                self.types[name] = kind

    @staticmethod
    def result_type(node: "NodeProto", kinds: Sequence[str]) -> str:
        """That of a node on operands of these types."""
        place = {"Where": 1, "DequantizeLinear": 1, "CastLike": 1}.get(node.op_type, 0)
        stated = {each.name: each.i for each in node.attribute}
        number = stated.get("to" if node.op_type == "Cast" else "output_dtype", 0)
        if node.op_type == "Cast" or (node.op_type == "DequantizeLinear" and number):
            from onnx import TensorProto

            names = {value: name.lower() for name, value in TensorProto.DataType.items()}
            name = names.get(number, "")
            return name if name in ROUNDINGS else ""
        return kinds[place] if place < len(kinds) else ""


def declared_type(info: "ValueInfoProto") -> str:
    """The type of 16 bits that the model says a value has; empty for other types."""
    kind = info.type.tensor_type.elem_type
    return next((name for name in ROUNDINGS if number_of(name) == kind), "")
