"""What an ONNX model means in operators of the language: a flat list of calls."""

from collections.abc import Mapping
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ops.attributes import Value

Array = NDArray[np.generic]


@record
class Tensor:
    """A value that flows: inputs and results of stages."""

    name: str
    dtype: DType
    shape: Shape


@record
class Stage:
    """One call of an operator of the language.

    `name` is unique, and path-like where ONNX's is: `layer1.0.conv1`. `attributes` are as in the
    text, and as `Operator.make` takes them: numbers, truth values, tuples of them, and `Symbol` for
    words such as `same` and `constant(0.5)`. An operand is the name of an input or of another
    stage, or a number, which stands for itself. `parameters` says which array of the net each of
    the operator's parameters is. `source` names the ONNX node it came from.

    The operator `tensor`, which has no operands, is a tensor of the weights file; its parameter is
    called "".
    """

    name: str
    op: str
    attributes: Mapping[str, Value]
    operands: tuple[str | float, ...]
    parameters: Mapping[str, str]
    result: Tensor
    source: str = ""


@record
class Mapped:
    """A line of the report: what became of one node of the model."""

    node: str
    operator: str
    became: str


@record
class End:
    """An input or output as ONNX has it: its name and shape there.

    In the net it may be called otherwise, and have an axis of extent 1 in front (`is_wrapped`), as
    the language wants every input to begin with the batch, and to have two axes or more.
    """

    name: str
    shape: Shape
    dtype: DType
    is_wrapped: bool = False

    @property
    def in_net(self) -> Shape:
        """The shape of an input in the net."""
        return (1, *(self.shape or (1,))) if self.is_wrapped else self.shape


@record
class FlatNet:
    """A network as calls in the order they run, each after those it reads.

    All inputs have the same first extent, `batch`. `outputs` are (name, input or stage). `given`
    and `wanted` are the model's inputs and outputs, in their order. `notes` say of stages from a
    node what has been done to them.
    """

    name: str
    inputs: tuple[Tensor, ...]
    stages: tuple[Stage, ...]
    outputs: tuple[tuple[str, str], ...]
    arrays: Mapping[str, Array]
    batch: int = 1
    given: tuple[End, ...] = ()
    wanted: tuple[End, ...] = ()
    report: tuple[Mapped, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
