"""What a name of an ONNX graph stands for while the graph is read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.onnx.flat import Array


@record
class Known:
    """A tensor whose elements are known: an initializer, or what was computed of some."""

    array: Array

    @property
    def shape(self) -> Shape:
        """Its shape."""
        return tuple(self.array.shape)


@record
class Flow:
    """A tensor that is computed at run time.

    `name` is the input or stage that gives it. `shape` is as in ONNX; a number without axes is
    `[1]` in the net. It depends on the graph's inputs `roots`.
    """

    name: str
    shape: Shape
    dtype: DType
    roots: frozenset[str] = frozenset()

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


@record
class Lost:
    """What a refused node would have given."""


Value = Known | Flow
"""What an importer takes and gives."""


class RefusedError(Exception):
    """A node that cnnc cannot take; the message says why.

    `wants` are inputs of the graph that would have to be known.
    """

    def __init__(self, why: str, wants: Iterable[str] = ()) -> None:
        super().__init__(why)
        self.why = why
        self.wants = frozenset(wants)


@record
class Call:
    """A node with its operands: what an importer is given.

    `opset` is the version of its domain that the model asks for. An operand that is left out is
    None. `used` says which results somebody reads.
    """

    op: str
    name: str
    opset: int
    operands: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    used: tuple[bool, ...]

    def flow(self, position: int) -> Value:
        """The operand at a position; RefusedError where there is none."""
        found = self.operand(position)
        if found is None:
            raise RefusedError(f"its operand {position} is missing")
        return found

    def operand(self, position: int) -> Value | None:
        """The operand at a position, if there is one."""
        return self.operands[position] if position < len(self.operands) else None

    def known(self, position: int, what: str) -> Array | None:
        """The elements of an operand, None where it is left out; RefusedError unless known."""
        found = self.operand(position)
        if isinstance(found, Flow):
            raise RefusedError(f"its {what} is computed at run time", found.roots)
        return None if found is None else found.array

    def needed(self, position: int, what: str) -> Array:
        """The same for an operand that must be there."""
        found = self.known(position, what)
        if found is None:
            raise RefusedError(f"its {what} is missing")
        return found

    def integers(self, position: int, what: str) -> list[int] | None:
        """An operand that lists integers."""
        found = self.known(position, what)
        if found is None:
            return None
        if found.dtype.kind not in "iu" or found.ndim > 1 or found.size > 4096:
            raise RefusedError(f"its {what} is no short list of integers")
        return [int(each) for each in found.reshape(-1)]

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise RefusedError(f"its attribute `{name}` is no integer")
        return value

    @property
    def is_wide(self) -> bool:
        """Whether an operand is of f64."""
        return any(_is_wide(each) for each in self.operands)

    def number(self, name: str, default: float) -> float:
        """An attribute, which ONNX holds as f32.

        It is the shortest number that rounds to it; beside operands of f64 it is that number of
        f32, defaults too.
        """
        value = self.attributes.get(name, default)
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise RefusedError(f"its attribute `{name}` is no finite number")
        return float(np.float32(value)) if self.is_wide else shortest(value)

    def word(self, name: str, default: str) -> str:
        """An attribute."""
        value = self.attributes.get(name, default.encode())
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def integer_list(self, name: str) -> list[int] | None:
        """An attribute, None where it is left out."""
        value = self.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
            raise RefusedError(f"its attribute `{name}` is no list of integers")
        return value

    def only(self, results: int) -> None:
        """RefusedError where somebody reads more than the first results."""
        if any(self.used[results:]):
            raise RefusedError(f"its result {results} is used, which cnnc does not compute")


def _is_wide(value: Value | None) -> bool:
    match value:
        case Flow(dtype=dtype):
            return dtype is DType.F64
        case Known(array):
            return bool(array.dtype == np.float64)
    return False


def shortest(value: float | np.generic) -> float:
    """The shortest decimal number that is this one in f32."""
    return float(str(np.float32(value)))


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from 0; RefusedError where there is none."""
    if not -rank <= axis < rank:
        raise RefusedError(f"there is no axis {axis} of {rank}")
    return axis % rank


def axes_of(axes: Sequence[int], rank: int) -> list[int]:
    """Axes counted from 0, in ascending order; RefusedError where they are not so many axes."""
    found = sorted(axis_of(axis, rank) for axis in axes)
    if len({*found}) < len(found):
        raise RefusedError("an axis is given twice")
    return found
