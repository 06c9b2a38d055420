"""Collects the stages of a flat net, each checked by the operator it calls."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

import cnnc.ops  # noqa: F401  fills the registry of operators
from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.names import unused_name
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.onnx.flat import Array, Stage, Tensor
from cnnc.onnx.reading import MOST_AXES
from cnnc.onnx.values import Flow, Known, RefusedError, Value
from cnnc.ops.attributes import Symbol
from cnnc.ops.attributes import Value as Attribute
from cnnc.ops.spec import Operator, find_operator

LARGEST = 2**32
"""Elements of a value; the frontend has limits of its own for all of them together."""
AT_LEAST = 2**26
"""Elements that all constants made while reading may have; in large models more:"""
GROWTH = 16
"""so many times the elements of the model's own tensors."""
FILLED = 8
"""How many elements of a constant that is one number count as one element of others."""
MOST_STAGES = 50_000

Operand = Value | float


class Builder:
    """The stages so far. Stages that importers add are called after the node that is read.

    `budget` is how many elements of constants may still be made.
    """

    def __init__(self, budget: int = AT_LEAST) -> None:
        self.stages: list[Stage] = []
        self.arrays: dict[str, Array] = {}
        self.source = ""
        self.names: set[str] = set()
        self.budget = budget
        self._base = "stage"
        self._types: dict[str, TensorType] = {}
        self._tensors: dict[tuple[bytes, Shape, str], Flow] = {}

    def input(self, name: str, shape: Shape, dtype: DType) -> Tensor:
        """An input of the net."""
        made = Tensor(self.claim(name), dtype, shape)
        self._types[made.name] = TensorType.plain(shape, dtype)
        return made

    def begin(self, base: str, source: str) -> None:
        """What is added from now on comes from this node."""
        self._base, self.source = base or "stage", source

    def claim(self, wanted: str) -> str:
        """A name that is free, and as near as possible to the wanted one."""
        name = unused_name(clean(wanted), self.names)
        self.names.add(name)
        return name

    def stage(
        self,
        op: str,
        operands: Sequence[Operand],
        attributes: Mapping[str, Attribute] | None = None,
        parameters: Mapping[str, Array] | None = None,
        *,
        shape: Shape | None = None,
    ) -> Flow:
        """Call an operator; RefusedError where it does not take these operands.

        Known operands become numbers or tensors of their own. `shape` is the result's in ONNX where
        it has no axes.
        """
        if len(self.stages) >= MOST_STAGES:
            raise RefusedError(f"the net would have more than {MOST_STAGES} operators")
        flows = self._align(operands)
        numbers = _type_of_numbers(flows)
        types = [self._type(each, numbers) for each in flows]
        operator = find_operator(op)
        assert operator is not None
        try:
            made = operator.make(attributes or {})
            result = _infer(made, types, parameters or {})
        except OpError as error:
            note = f" ({error.note})" if error.note else ""
            raise RefusedError(f"`{op}` does not take this: {error.why}{note}") from None
        if result.elements > LARGEST or result.rank > MOST_AXES:
            what = f"{result.elements} elements" if result.rank <= MOST_AXES else "too many axes"
            raise RefusedError(f"its result has {what}")
        name = self.claim(self._base)
        keys = {
            each: self._keep(f"{name}.{each}", value) for each, value in (parameters or {}).items()
        }
        roots = frozenset[str]().union(*(each.roots for each in flows if isinstance(each, Flow)))
        names = tuple(each.name if isinstance(each, Flow) else each for each in flows)
        self._add(op, name, dict(attributes or {}), names, keys, result)
        return Flow(name, result.shape if shape is None else shape, result.dtype, roots)

    def tensor(self, array: Array) -> Flow:
        """A known tensor as a value of the net."""
        dtype = dtype_of(array.dtype)
        shape = tuple(array.shape)
        if 0 in shape:
            raise RefusedError("an operand has no elements")
        key = (_digest(array), shape, str(dtype))
        if key not in self._tensors:
            held = array.reshape(shape or (1,))
            if held.ndim > 8:
                raise RefusedError(f"an operand has {held.ndim} axes")
            name = self.claim(f"{self._base}_value")
            result = TensorType.plain(held.shape, dtype)
            attributes: dict[str, Attribute] = {"shape": held.shape}
            if dtype is not DType.F32:
                attributes["dtype"] = Symbol(dtype.value)
            self._add("tensor", name, attributes, (), {"": self._keep(name, held)}, result)
            self._tensors[key] = Flow(name, shape, dtype)
        return self._tensors[key]

    def flow(self, value: Value) -> Flow:
        """The value as one of the net."""
        return value if isinstance(value, Flow) else self.tensor(value.array)

    def reshape(self, x: Flow, shape: Sequence[int]) -> Flow:
        """The same elements under another shape, in ONNX's terms; itself where it has it."""
        wanted = tuple(shape)
        if wanted == x.shape:
            return x
        held = wanted or (1,)
        if prod(held) != prod(x.shape) or 0 in held:
            raise RefusedError(f"{list(x.shape)} cannot be reshaped to {list(wanted)}")
        have = x.shape or (1,)
        if held == have:
            return Flow(x.name, wanted, x.dtype, x.roots)
        if len(have) > 2 and held == (have[0], prod(have[1:])):
            return self.stage("flatten", [x])
        # extents that stay are kept as such, so that the batch may be another one
        first = 0 if held[0] == have[0] and len(have) > 1 else held[0]
        return self.stage("reshape", [x], {"shape": (first, *held[1:])}, shape=wanted)

    def transpose(self, x: Flow, order: Sequence[int]) -> Flow:
        """Axis i of the result is axis order[i]."""
        if [*order] == [*range(x.rank)]:
            return x
        return self.stage("transpose", [x], {"order": tuple(order)})

    def cast(self, x: Flow, dtype: DType) -> Flow:
        """The elements in another type."""
        if x.dtype is dtype:
            return x
        return self.stage("cast", [x], {"dtype": Symbol(dtype.value)}, shape=x.shape)

    def spend(self, elements: int) -> None:
        """RefusedError where so many elements more are too many: small models stay small."""
        if elements > self.budget:
            self.budget = -1  # from now on, nothing is computed any more
            raise RefusedError("the model would have too many large constants for its size")
        self.budget -= elements

    def _align(self, operands: Sequence[Operand]) -> list[Flow | float]:
        """Known operands as numbers where that changes no shape, otherwise as tensors."""
        rank = max((each.rank for each in operands if isinstance(each, Flow)), default=0)
        numbers = _type_of_numbers(operands)
        found: list[Flow | float] = []
        for each in operands:
            if isinstance(each, Known):
                array = each.array
                is_number = array.size == 1 and array.ndim <= rank and array.dtype == numbers.numpy
                number = shortest_number(array) if is_number else None
                found.append(self.tensor(array) if number is None else number)
            else:
                found.append(each)
        return found

    def _type(self, each: Flow | float, numbers: DType) -> TensorType:
        if isinstance(each, Flow):
            held = TensorType.plain(each.shape or (1,), each.dtype)
            return held
        return TensorType.plain((1,), numbers)

    def _keep(self, key: str, array: Array) -> str:
        self.spend(cost(array))
        self.arrays[key] = array if is_filled(array) else np.ascontiguousarray(array)
        return key

    def _add(
        self,
        op: str,
        name: str,
        attributes: dict[str, Attribute],
        operands: tuple[str | float, ...],
        parameters: dict[str, str],
        result: TensorType,
    ) -> None:
        made = Tensor(name, result.dtype, result.shape)
        self._types[name] = result
        self.stages.append(Stage(name, op, attributes, operands, parameters, made, self.source))


def _infer(made: Operator, types: Sequence[TensorType], given: Mapping[str, Array]) -> TensorType:
    specs = made.parameters(*types)
    for spec in specs:
        if spec.value is not None:
            continue
        array = given.get(spec.name)
        if array is None:
            raise RefusedError(f"its {spec.name} is missing")
        if array.shape != spec.type.shape:
            wanted, found = list(spec.type.shape), list(array.shape)
            raise RefusedError(f"its {spec.name} has shape {found}, not {wanted}")
        if array.dtype != spec.type.dtype.numpy:
            raise RefusedError(
                f"its {spec.name} is {array.dtype}, and it computes in {spec.type.dtype}"
            )
    least, most = type(made).arity
    if len(types) < least or (most is not None and len(types) > most):
        raise RefusedError(f"`{made.name}` takes no {len(types)} operands")
    return made.infer(*types, *(spec.type for spec in specs))


_LARGEST_NUMBER = float(np.finfo(np.float32).max)


def is_filled(array: Array) -> bool:
    """Whether it is one number, spread without taking memory for each."""
    return array.size > 1 and not any(array.strides)


def cost(array: Array) -> int:
    """The elements that a constant counts as."""
    return array.size // (FILLED if is_filled(array) else 1)


def _digest(array: Array) -> bytes:
    if is_filled(array):
        return b"filled" + array.flat[0].tobytes()
    return hashlib.sha256(np.ascontiguousarray(array).data).digest()


def shortest_number(array: Array) -> float | None:
    """The number of an array of one, None where the text has none for it."""
    value = array.reshape(-1)[0]
    if not np.isfinite(value) or (value == 0 and np.signbit(value)):
        return None
    shortest = float(str(value))
    return shortest if abs(shortest) <= _LARGEST_NUMBER else None


def dtype_of(dtype: np.dtype[np.generic]) -> DType:
    """The element type of the net; RefusedError where it has none."""
    try:
        return DType.of(dtype)
    except (KeyError, TypeError):
        raise RefusedError(f"cnnc has no tensors of {dtype}") from None


def _type_of_numbers(operands: Sequence[Operand]) -> DType:
    """What the language takes numbers beside these for."""
    is_wide = any(isinstance(each, Flow) and each.dtype is DType.F64 for each in operands)
    return DType.F64 if is_wide else DType.F32


def clean(name: str) -> str:
    """A path of names: letters, digits and `_` between dots."""
    parts = [re.sub(r"\W", "_", part, flags=re.ASCII) for part in re.split(r"[/.]+", name)]
    return ".".join(part for part in parts if part.strip("_"))[:120] or "value"
