"""A call of an ATen operator with its arguments by name: what an importer is given."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.registry import IMPORTERS
from cnnc.onnx.values import Call as OnnxCall
from cnnc.onnx.values import Flow, Known, RefusedError, Value

Results = Value | Sequence[Value | None]
Importer = Callable[["Call", Builder], Results]
"""What adds the stages of a call and gives its results; RefusedError where it cannot."""

_OPSET = 21


@record
class Call:
    """One call.

    `arguments` are by the names of ATen's schema, with its defaults: tensors as values, everything
    else as in Python. `shapes` and `dtypes` are those of the results, and `used` says which
    somebody reads. With `keeps_samples` first axes have to stay those of samples.
    """

    op: str
    arguments: Mapping[str, Any]
    shapes: tuple[Shape, ...]
    dtypes: tuple[DType, ...]
    used: tuple[bool, ...]
    keeps_samples: bool = False

    @property
    def shape(self) -> Shape:
        """Shape of the first result."""
        return self.shapes[0]

    def value(self, *names: str) -> Value:
        """A tensor, or a number as one; the name is the first that the schema has."""
        for name in names:
            found = self.arguments.get(name)
            if isinstance(found, Flow | Known):
                return found
            if isinstance(found, int | float) and not isinstance(found, bool):
                return Known(_number(found))
        raise RefusedError(f"its `{names[0]}` is no tensor")

    def promoted(self, build: Builder, *names: str) -> Value:
        """The same in the element type of the first result, which torch's operands take."""
        return cast(build, self.value(*names), self.dtypes[0])

    def optional(self, name: str) -> Value | None:
        """A tensor that may be left out."""
        return None if self.arguments.get(name) is None else self.value(name)

    def known(self, name: str) -> Array | None:
        """The elements of a tensor that may be left out; RefusedError unless they are known."""
        found = self.optional(name)
        if isinstance(found, Flow):
            raise RefusedError(f"its `{name}` is computed at run time")
        return None if found is None else found.array

    def integers(self, name: str, count: int, default: int = 0) -> list[int]:
        """So many integers, of which one may stand for all, or none for the default."""
        given = self.arguments.get(name)
        found = [given] if isinstance(given, int) else list(given or [default])
        found = found * count if len(found) == 1 else found
        if len(found) != count or not all(isinstance(each, int) for each in found):
            raise RefusedError(f"its `{name}` is {given} for {count} axes")
        return found

    def integer(self, name: str, default: int = 0) -> int:
        """An integer."""
        return self.integers(name, 1, default)[0]

    def number(self, name: str, default: float) -> float:
        """A number."""
        found = self.arguments.get(name)
        if found is None:
            return default
        if not isinstance(found, int | float):
            raise RefusedError(f"its `{name}` is no number")
        return float(found)

    def only(self, results: int) -> None:
        """RefusedError where somebody reads more than the first results."""
        if any(self.used[results:]):
            raise RefusedError(f"its result {results} is used, which cnnc does not compute")


def cast(build: Builder, value: Value, dtype: DType) -> Value:
    """The elements in a type."""
    if isinstance(value, Flow):
        return build.cast(value, dtype)
    return value if value.array.dtype == dtype.numpy else Known(value.array.astype(dtype.numpy))


def through(
    build: Builder, op: str, operands: Sequence[Value | None], **attributes: object
) -> Flow:
    """The first result of an operator that means the same in ONNX."""
    importer = IMPORTERS.find(op)
    assert importer is not None
    made = importer(OnnxCall(op, op, _OPSET, tuple(operands), attributes, (True,)), build)
    first = made if isinstance(made, Flow | Known) else made[0]
    return build.flow(first)


def _number(number: float) -> Array:
    """In float32, unless it is an integer that float32 does not have."""
    found = np.array(number, np.float32)
    return np.array(number) if isinstance(number, int) and int(found) != number else found
