"""The model under construction: nodes, initial values and their names."""

from collections.abc import Iterable, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cnnc.base.dtype import DType
from cnnc.base.errors import InternalError, fail
from cnnc.base.names import unused_name
from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType

OPSET = 21
"""The first with group normalisation that has a weight for each channel."""
IR_VERSION = 10
Attribute = int | float | str | Sequence[int]


class Writer:
    """Nodes and initial values of a model; tensors go by name.

    `begin` names the layer that the next nodes belong to, and says whether it `is_wide`, of f64:
    then numbers are, too. `samples` is the batch where it is open:
    no shape may hold it then.
    """

    def __init__(self, taken: Iterable[str], samples: int | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self.initial: list[TensorProto] = []
        self.samples = samples
        self._names = set(taken)
        self._known: dict[tuple[bytes, str, tuple[int, ...]], str] = {}
        self.is_wide = False
        self._layer, self._start = "", 0

    def begin(self, layer: str, *, is_wide: bool) -> None:
        """What is added from now on belongs to this layer."""
        self._layer, self._start, self.is_wide = layer, len(self.nodes), is_wide

    def holds(self, *numbers: float) -> bool:
        """Whether ONNX's attributes, which are of float32, can be these numbers here."""
        return not self.is_wide or all(float(np.float32(each)) == each for each in numbers)

    def end(self, result: str) -> str:
        """Call the layer's result as the layer, if the layer has made it."""
        for node in self.nodes[self._start :]:
            if result in node.output:
                node.name = self._layer
                self.rename(result, self._layer, self._start)
                return self._layer
        return result

    def rename(self, old: str, new: str, start: int = 0) -> None:
        """Another name for a tensor, wherever it stands from this node on."""
        for node in self.nodes[start:]:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new

    def copy(self, old: str, new: str) -> None:
        """The same tensor under a second name."""
        self.nodes.append(helper.make_node("Identity", [old], [new], name=new))

    def add(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """One more operator; the name of its result. An input called "" is left out.

        UserError where an attribute cannot be what the layer needs.
        """
        for key, value in attributes.items():
            if isinstance(value, float) and not self.holds(value):
                why = f"the attribute `{key}` of `{kind}` is of float32, which has no {value!r}"
                what = f"ONNX cannot say `{self._layer}`, which computes in f64"
                raise fail("E0904", what, notes=(why,))
        name = self.new_name(kind)
        node = helper.make_node(kind, [*inputs], [name], name=name)
        for key, value in sorted(attributes.items()):
            node.attribute.append(helper.make_attribute(key, value))
        self.nodes.append(node)
        return name

    def add_second(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """One more operator; the name of its second result, where nobody reads the first."""
        first = self.add(kind, *inputs, **attributes)
        second = self.new_name(kind)
        self.nodes[-1].output[:] = [first, second]
        return second

    def constant(self, values: Any, dtype: type[np.generic] | None = None) -> str:
        """The name of a tensor with these values, floats of the layer's type unless it is said;
        equal small ones are one."""
        dtype = dtype or (np.float64 if self.is_wide else np.float32)
        array = np.ascontiguousarray(np.asarray(values, dtype)).reshape(np.shape(values))
        if array.nbytes > 1024:
            return self.initialise(self.new_name("constant"), array)
        key = (array.tobytes(), str(array.dtype), array.shape)
        if key not in self._known:
            self._known[key] = self.initialise(self.new_name("constant"), array)
        return self._known[key]

    def integers(self, values: Sequence[int]) -> str:
        """The name of a vector of whole numbers: shapes, axes, positions."""
        return self.constant(np.array(values, np.int64), np.int64)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """The elements under another shape, whose first extent is the batch if that is open."""
        if self.samples is not None:
            shape = (0, *shape[1:])
        return self.add("Reshape", x, self.integers(shape))

    def cast(self, x: str, dtype: DType) -> str:
        """The elements as another type."""
        return self.add("Cast", x, to=element_type(dtype))

    def initialise(self, name: str, array: NDArray[np.generic]) -> str:
        """A tensor of the model with these values."""
        self.initial.append(numpy_helper.from_array(array, name))
        return name

    def new_name(self, kind: str) -> str:
        """A name in the layer that nothing has."""
        name = unused_name(f"{self._layer}/{kind}", self._names)
        self._names.add(name)
        return name


@singledispatch
def emit(op: object, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    """Write the operator of a node; the name of its result. Registered once for each operator."""
    raise InternalError(f"nothing writes `{node.op.label}`", stage="export")


def element_type(dtype: DType) -> int:
    """ONNX's number of an element type."""
    return helper.np_dtype_to_tensor_dtype(dtype.numpy)


def operand_type(node: Node, position: int = 0) -> TensorType:
    """The type of an operand of a node."""
    return node.inputs[position].type


def per_channel(node: Node, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """A vector [C] with axes of extent 1 behind it, to be broadcast over the node's operand."""
    return array.reshape(-1, *[1] * (operand_type(node).rank - 2))


def constant_of(node: Node, position: int) -> NDArray[np.generic]:
    """The values of an operand that is known."""
    value = node.inputs[position].constant
    if value is None:
        raise InternalError(f"operand {position} of `{node.name}` is no constant", stage="export")
    return value
