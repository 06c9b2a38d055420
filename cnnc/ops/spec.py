"""The base of all operators, and their registry."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Self, TypeVar, dataclass_transform

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout, Shape
from cnnc.base.record import make_record, record
from cnnc.ir.graph import Array, Initial, OpError, Real
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.attributes import Kind, Value, format_value

__all__ = ["Real"]

T = TypeVar("T")


@record
class ParameterSpec:
    """A tensor an operator instance owns: the last part of its name, type, first values.

    It is trained, unless it is a `statistic` that training gathers, or `value` is given: then the
    attributes fix it, and it becomes a constant that no weights file holds.
    """

    name: str
    type: TensorType
    initial: Initial
    value: Array | None = dataclasses.field(default=None, compare=False, repr=False)
    statistic: bool = False

    @property
    def is_trained(self) -> bool:
        """Whether it counts among the parameters of a network, as papers and frameworks count."""
        return self.value is None and not self.statistic

    @staticmethod
    def fixed(name: str, value: Real, dtype: DType) -> "ParameterSpec":
        """A table whose values follow from the operator's attributes."""
        made = TensorType.plain(value.shape, dtype)
        return ParameterSpec(name, made, Initial("ones"), value.astype(dtype.numpy))


@record
class Sample:
    """A case every backend must pass: an operator, and the shapes of its data operands.

    Operands are f32 unless `dtypes` names their element types, and `positive` where the operator
    has no result for negative numbers.
    """

    op: "Named"
    shapes: tuple[Shape, ...]
    dtypes: tuple[DType, ...] = ()
    positive: bool = False

    @property
    def types(self) -> tuple[TensorType, ...]:
        """Types of the data operands."""
        dtypes = self.dtypes or (DType.F32,) * len(self.shapes)
        return tuple(map(TensorType.plain, self.shapes, dtypes))


@record
class Blocking:
    """Which channel blocks an operator works on.

    `reads` are blocks its data operands may have, preferred first; `writes` is its result's. An
    operator that `follows` works element by element in whatever block its operands share.
    """

    reads: tuple[int, ...] = (1,)
    writes: int = 1
    follows: bool = False


PLAIN = Blocking()
ANY_BLOCK = (64, 32, 16, 8, 4, 2, 1)
"""For operators that read whatever block their operand has."""
FEW_CHANNELS = 4
"""So few, as the colours of an image, are not worth a copy in blocks."""


@record
class Nest:
    """What the choice of a register tile must know of an operator's loops.

    `spatial` are the extents of the loops over positions, and the channels stand in so many
    `groups`; `per_channel` when every channel reads its own input rather than one that all of its
    group share. `strided` when neighbouring positions share no inputs; `taps` of the window along
    the last axis, `one_tap` when it has no other; `own_weights` when positions share no weights.
    `shares_rows` when the rows of a row-major result read the same elements of an operand.
    `temporaries` are the registers that a step needs beside its operands and its result. Where
    positions fall into so many `phases`, a loop over phases for each axis stands around those.
    """

    spatial: Shape
    groups: int = 1
    per_channel: bool = False
    strided: bool = False
    taps: int = 1
    one_tap: bool = False
    own_weights: bool = False
    shares_rows: bool = False
    temporaries: int = 0
    phases: int = 0


class Named(ABC):
    """What a call in the language may name; attributes are the fields of its class.

    A class is made one by @operator.
    """

    name: ClassVar[str]
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    """Least and most data operands (None: any number)."""

    @classmethod
    @abstractmethod
    def samples(cls) -> Sequence[Sample]:
        """Cases for the tests of all backends: odd sizes, size 1, every attribute."""

    @property
    def label(self) -> str:
        """The operator with all attributes that differ from their defaults."""
        shown = []
        for field in self.attributes():
            value = getattr(self, field.name)
            if field.required or value != field.default:
                shown.append(f"{field.name}={format_value(field.kind.unparse(value))}")
        return f"{self.name}({', '.join(shown)})" if shown else self.name

    @classmethod
    def attributes(cls) -> Sequence["Attribute"]:
        """The attributes in the order positional arguments fill them."""
        return [
            Attribute(field.name, field.metadata["kind"], field.default, field.metadata["doc"])
            for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        ]

    @classmethod
    def make(cls, values: Mapping[str, Value]) -> Self:
        """An instance from language values; OpError `at` the attribute whose value does not fit.

        Unknown or missing names are the caller's to report.
        """
        fields: dict[str, object] = {}
        for attribute in cls.attributes():
            if attribute.name in values:
                try:
                    fields[attribute.name] = attribute.kind.parse(values[attribute.name])
                except OpError as error:
                    raise dataclasses.replace(error, at=attribute.name) from None
        return cls(**fields)


class Operator(Named):
    """An operator with one result.

    Data operands come first, then parameters in the order of `parameters`. Shapes are
    (batch, channels, *spatial).
    """

    is_convolution: ClassVar[bool] = False
    """Whether it convolves: one kernel, shared by all positions."""
    is_elementwise: ClassVar[bool] = False
    """Whether its loops store one element each and no more, so that any loop may be vectors."""
    gathers: ClassVar[bool] = False
    """Whether an operand's channels are not where the result has them: blocks are not filled up."""

    @property
    def sums_channels(self) -> bool:
        """Whether each result sums over all channels of operand 0, times a first parameter whose
        axis 1 they are: their order may then be another one for both."""
        return False

    @abstractmethod
    def infer(self, *inputs: TensorType) -> TensorType:
        """Type of the result from data operands and parameters; OpError blames one of them."""

    @abstractmethod
    def reference(self, *inputs: Real) -> Real:
        """The truth in NumPy; operands of float type arrive as float64."""

    @abstractmethod
    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """The same as loops: every element of `build.out` through `build.result` once."""

    @abstractmethod
    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """Bound on |computed - exact| per element of `out`.

        `unit` is the unit roundoff of the working precision; `errors` bounds each operand's own
        error. See docs/numerics.md for the formulas.
        """

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """Parameters an instance on these data operands owns."""
        return ()

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """Multiply-accumulates of one evaluation."""
        return 0

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """The loops over positions, for the search for a register tile."""
        return Nest(out.spatial, per_channel=self.macs(out, *inputs) == 0)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """Channel blocks the operator's loops work well on, for vectors of `lanes` elements."""
        return PLAIN

    def permuted_vectors(self, lanes: int, *inputs: TensorType) -> int:
        """How many vectors of the result are made from the same vectors of each operand.

        That is in blocks of so many channels, where channels change lanes; 0 where none does.
        """
        return 0

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """Layouts for the parameters when operand 0 and the result have these channel blocks."""
        return tuple(Layout.plain(spec.type.rank) for spec in self.parameters(*inputs[:1]))

    def halo(self, *inputs: TensorType) -> tuple[tuple[int, int], ...]:
        """Zeros the loops read before and after each axis of operand 0."""
        return ()

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """Whether one sample's result depends on another sample."""
        return False


class Composite(Named):
    """An operator with several results: an operator without parameters for each of them."""

    @abstractmethod
    def expand(self, *inputs: TensorType) -> tuple[Operator, ...]:
        """The operators, each to be applied to all data operands; OpError as in `infer`."""


class Leaf(Named):
    """What computes nothing and owns a tensor: no operand flows into it."""

    @abstractmethod
    def parameter(self) -> ParameterSpec:
        """The tensor; it is called as the leaf is, so its own name is empty."""

    @classmethod
    @abstractmethod
    def example(cls) -> Self:
        """One to show."""

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Named: nothing is computed, so there is nothing to test."""
        return ()


@record
class Attribute:
    """A field of an operator class as the language sees it."""

    name: str
    kind: Kind[object]
    default: object
    doc: str

    @property
    def required(self) -> bool:
        """Whether the language must give it."""
        return self.default is dataclasses.MISSING


def attr(kind: Kind[T], *, doc: str, default: T | None = None) -> T:
    """A field that is an attribute of the language; without a default it is required."""
    metadata = {"kind": kind, "doc": doc}
    if default is None:
        made: T = dataclasses.field(metadata=metadata)
    else:
        made = dataclasses.field(default=default, metadata=metadata)
    return made


_REGISTRY: dict[str, type[Named]] = {}
C = TypeVar("C", bound=Named)


@dataclass_transform(frozen_default=True, field_specifiers=(attr,))
def operator(name: str, *, arity: tuple[int, int | None] = (1, 1)) -> Callable[[type[C]], type[C]]:
    """Make the class an operator of the language under this name."""

    def register(cls: type[C]) -> type[C]:
        if name in _REGISTRY:
            raise ValueError(f"two operators named {name}")
        made = make_record(cls, slots=False)
        made.name = name
        made.arity = arity
        _REGISTRY[name] = made
        return made

    return register


def find(name: str) -> type[Named] | None:
    """The operator of this name, which may be a composite."""
    return _REGISTRY.get(name)


def find_operator(name: str) -> type[Operator] | None:
    """The operator with one result of this name."""
    found = find(name)
    return found if found is not None and issubclass(found, Operator) else None


def operators() -> Iterator[type[Named]]:
    """All operators, composites among them, by name."""
    return iter(_REGISTRY[name] for name in sorted(_REGISTRY))


def check_floats(inputs: Sequence[TensorType]) -> None:
    """OpError at the first operand that is not floating point."""
    for position, operand in enumerate(inputs):
        if not operand.dtype.is_float:
            pixels = ", or `-> preprocess(scale = 1/255)` for pixels"
            raise OpError(
                f"this needs floating point, and the operand is {operand.dtype}",
                at=position,
                help="cast it first: `-> cast(f32)`" + pixels * (operand.dtype is DType.U8),
            )


def check_parameters(op: Operator, *inputs: TensorType) -> None:
    """OpError at the first parameter that is not what `op.parameters` asks for; one data operand.

    The frontend and the weights file see to that first, so this guards against rewrites.
    """
    expected = [spec.type for spec in op.parameters(inputs[0])]
    if len(inputs) != 1 + len(expected):
        raise OpError(f"{op.name} here takes {len(expected)} parameters, not {len(inputs) - 1}")
    for position, (found, wanted) in enumerate(zip(inputs[1:], expected, strict=True), start=1):
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise OpError(
                f"the parameter must be {wanted}",
                at=position,
                note=f"it is {found}",
            )


def gamma(terms: int, unit: float) -> float:
    """Bound on the relative error of `terms` roundings in sequence.

    Few terms: the certain bound, Higham, "Accuracy and Stability of Numerical Algorithms" (2002),
    lemma 3.1. Many: the probabilistic one, Higham and Mary, "A new approach to probabilistic
    rounding error analysis" (SIAM J. Sci. Comput. 41, 2019), theorem 2.4, with lambda = 8; it
    fails with probability below 2 n exp(-32).
    """
    probable = float(np.expm1(8 * np.sqrt(terms) * unit + terms * unit**2 / (1 - unit)))
    certain = terms * unit / (1 - terms * unit) if terms * unit < 1 else np.inf
    return min(certain, probable)
