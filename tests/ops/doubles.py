"""The operators' samples with float64 in place of float32, and conversions from and to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.ops.cast import Cast
from cnnc.ops.spec import Composite, Operator, Sample, operators
from tests.ops.cases import Real, draw, parameter

F64 = DType.F64
UNIT = F64.unit_roundoff
Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Double:
    """An operator with operands of given types; those of f64 use all of their digits."""

    op: Operator
    types: tuple[TensorType, ...]
    operands: tuple[Array, ...]
    data: int
    """How many operands are no parameters."""

    def __str__(self) -> str:
        return f"{self.op.label} {' '.join(map(str, self.types))}"

    @property
    def result(self) -> TensorType:
        """The result's type."""
        return self.op.infer(*self.types)

    @property
    def graph(self) -> Graph:
        """A network of the operator: parameters are constants."""
        leaves = []
        for place, (kind, value) in enumerate(zip(self.types, self.operands, strict=True)):
            leaf = Input(f"x{place}") if place < self.data else Constant(value)
            leaves.append(Node(leaf, (), kind, f"x{place}"))
        node = Node(self.op, tuple(leaves), self.result, "layer")
        return Graph("single", tuple(leaves[: self.data]), {"y": node})


def make_double(op: Operator, types: Sequence[TensorType], *, positive: bool = False) -> Double:
    """The operator with drawn operands of these types, and parameters."""
    rng = np.random.default_rng(crc32(f"{op.label} {types}".encode()))
    operands: list[Real] = [draw(rng, kind) for kind in types]
    if positive:
        operands = [np.abs(value) for value in operands]
    specs = op.parameters(*types)
    operands += [parameter(spec, rng) for spec in specs]
    kinds = (*types, *(spec.type for spec in specs))
    pairs = zip(operands, kinds, strict=True)
    return Double(op, kinds, tuple(x.astype(kind.dtype.numpy) for x, kind in pairs), len(types))


def _wide(sample: Sample) -> Iterator[Double]:
    types = [
        TensorType.plain(kind.shape, F64 if kind.dtype is DType.F32 else kind.dtype)
        for kind in sample.types
    ]
    if not any(kind.dtype is F64 for kind in types):
        return
    several = sample.op.expand(*types) if isinstance(sample.op, Composite) else (sample.op,)
    for op in several:
        assert isinstance(op, Operator)
        yield make_double(op, types, positive=sample.positive)


CONVERSIONS = [
    make_double(Cast(target), [TensorType.plain(shape, source)])
    for shape in ((1, 1), (2, 17, 3), (1, 3, 5, 19))
    for other in DType
    for source, target in dict.fromkeys([(F64, other), (other, F64)])
]
SAMPLES = [each for op in operators() for sample in op.samples() for each in _wide(sample)]
DOUBLES = [*SAMPLES, *CONVERSIONS]
