"""Tensors of the weights file that belong to no layer."""

from dataclasses import dataclass

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Kind, Value, whole
from cnnc.ops.cast import ElementType
from cnnc.ops.spec import Leaf, ParameterSpec, attr, operator

MOST_AXES = 8


@dataclass(frozen=True)
class FullShape(Kind[Shape]):
    """A list of extents, all of them known."""

    def parse(self, value: Value) -> Shape:
        """See Kind."""
        parts = value if isinstance(value, tuple) else ()
        found = tuple(n for n in map(whole, parts) if n is not None and 1 <= n < 2**31)
        if not 1 <= len(parts) <= MOST_AXES or len(found) != len(parts):
            raise self.refuse(value)
        return found

    def describe(self) -> str:
        """See Kind."""
        return f"a list of 1 to {MOST_AXES} integers ≥ 1"


@operator("tensor", arity=(0, 0))
class Tensor(Leaf):
    """A tensor of the weights file: `x + tensor([64, 1, 1])`.

    For tables and offsets that belong to no layer. Nothing flows into it, and its name in the
    weights file is its own: `offset = tensor([64, 1, 1])` is `offset` there.
    """

    shape: Shape = attr(FullShape(), doc="extents")
    dtype: DType = attr(ElementType(), doc="element type", default=DType.F32)

    def parameter(self) -> ParameterSpec:
        """See Leaf."""
        return ParameterSpec("", TensorType.plain(self.shape, self.dtype), Initial("zeros"))

    @classmethod
    def example(cls) -> "Tensor":
        """See Leaf."""
        return cls((64, 1, 1))
