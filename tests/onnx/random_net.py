"""A random ONNX model while it grows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[np.generic]


@dataclass
class Net:
    """A model that grows node by node; `values` are its tensors of the `kind`, with shapes."""

    rng: np.random.Generator
    opset: int
    kind: type[np.floating[Any]] = np.float32
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initial: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    values: dict[str, tuple[int, ...]] = field(default_factory=dict)
    x: str = ""

    @property
    def number(self) -> int:
        """ONNX's number of the kind."""
        return helper.np_dtype_to_tensor_dtype(np.dtype(self.kind))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value that the next node reads."""
        return self.values[self.x]

    @property
    def rank(self) -> int:
        """Its rank."""
        return len(self.shape)

    def flip(self, chance: float = 0.5) -> bool:
        """True now and then."""
        return bool(self.rng.random() < chance)

    def pick(self, choices: Sequence[Any]) -> Any:
        """One of them."""
        return choices[int(self.rng.integers(len(choices)))]

    def some(self, low: int, high: int, count: int) -> list[int]:
        """Integers from low to high."""
        return [int(each) for each in self.rng.integers(low, high, count, endpoint=True)]

    def constant(self, array: Array) -> str:
        """A known tensor: an initializer, or the result of a Constant."""
        name = f"c{len(self.initial) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        if self.flip(0.2):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initial.append(tensor)
        return name

    def floats(self, *shape: int) -> str:
        """Random weights."""
        return self.constant(self.rng.normal(size=shape).astype(self.kind))

    def ints(self, values: Sequence[int]) -> str:
        """A list of integers."""
        return self.constant(np.array(values, np.int64))

    def node(
        self, op: str, operands: Sequence[str], results: int = 1, **attributes: Any
    ) -> list[str]:
        """Add a node."""
        names = [f"v{len(self.nodes)}_{place}" for place in range(results)]
        self.nodes.append(helper.make_node(op, operands, names, **attributes))
        return names

    def model(self, outputs: Sequence[str] = ()) -> onnx.ModelProto:
        """The model so far."""
        ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "random", self.inputs, ends, self.initial)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )
