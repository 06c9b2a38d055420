"""The operators' samples with operands drawn for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

import cnnc.ops  # noqa: F401
from cnnc.base.dtype import DType
from cnnc.ir.types import TensorType
from cnnc.ops.spec import Composite, Operator, ParameterSpec, Sample, operators

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """An operator with operands: values that are exact in f32, held in float64."""

    op: Operator
    operands: tuple[Real, ...]

    @property
    def types(self) -> list[TensorType]:
        """Types of the operands."""
        return [TensorType.plain(operand.shape) for operand in self.operands]

    @property
    def parameters(self) -> tuple[ParameterSpec, ...]:
        """The operator's own operands."""
        return self.op.parameters(*self.types[:1])

    def __str__(self) -> str:
        shapes = " ".join("x".join(map(str, operand.shape)) for operand in self.operands)
        return f"{self.op.label} {shapes}"


def make_case(op: Operator, shapes: Sequence[tuple[int, ...]]) -> Case:
    """The operator with drawn operands of these shapes, and parameters."""
    rng = np.random.default_rng(crc32(f"{op.label} {shapes}".encode()))
    types = [TensorType.plain(shape, DType.F32) for shape in shapes]
    operands = [rng.normal(size=shape) for shape in shapes]
    operands += [_parameter(spec, rng) for spec in op.parameters(*types)]
    return Case(op, tuple(value.astype(np.float32).astype(np.float64) for value in operands))


def _parameter(spec: ParameterSpec, rng: np.random.Generator) -> Real:
    shape = spec.type.shape
    if spec.value is not None:
        return spec.value.astype(np.float64)
    match spec.initial.kind:
        case "weight":
            return rng.normal(size=shape) / np.sqrt(spec.initial.fan_in)
        case "zeros":
            return rng.normal(size=shape) / 2
        case "ones":
            return rng.uniform(0.5, 1.5, shape)
    raise ValueError(spec.initial.kind)


def _cases(sample: Sample) -> Iterator[Case]:
    """One case, or one for each result of a composite."""
    several: tuple[Operator, ...]
    if isinstance(sample.op, Composite):
        several = sample.op.expand(*(TensorType.plain(shape) for shape in sample.shapes))
    else:
        assert isinstance(sample.op, Operator)
        several = (sample.op,)
    for op in several:
        yield make_case(op, sample.shapes)


CASES = [case for each in operators() for sample in each.samples() for case in _cases(sample)]
