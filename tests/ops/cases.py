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
    """An operator with operands: values that are exact in f32, held in float64, or integers."""

    op: Operator
    operands: tuple[Real, ...]

    @property
    def types(self) -> list[TensorType]:
        """Types of the operands."""
        return [TensorType.plain(operand.shape, dtype_of(operand)) for operand in self.operands]

    @property
    def parameters(self) -> tuple[ParameterSpec, ...]:
        """The operator's own operands."""
        return self.op.parameters(*self.types[:1])

    def __str__(self) -> str:
        shapes = " ".join(
            "x".join(map(str, operand.shape))
            + (f":{dtype_of(operand)}" if operand.dtype.kind != "f" else "")
            for operand in self.operands
        )
        return f"{self.op.label} {shapes}"


def dtype_of(operand: Real) -> DType:
    """The element type an operand of a case stands for: floating point for f32."""
    return DType.F32 if operand.dtype.kind == "f" else DType.of(operand.dtype)


def make_case(
    op: Operator,
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[DType] = (),
    *,
    positive: bool = False,
) -> Case:
    """The operator with drawn operands of these shapes, and parameters."""
    rng = np.random.default_rng(crc32(f"{op.label} {shapes}".encode()))
    kinds = Sample(op, tuple(shapes), tuple(dtypes)).types
    operands = [draw(rng, kind) for kind in kinds]
    if positive:
        operands = [np.abs(value) for value in operands]
    operands += [parameter(spec, rng) for spec in op.parameters(*kinds)]
    return Case(op, tuple(map(rounded, operands)))


def draw(rng: np.random.Generator, kind: TensorType) -> Real:
    """Random elements; integers of any size now and then."""
    if kind.dtype.is_float:
        return rng.normal(size=kind.shape)
    limits = (0, 1) if kind.dtype is DType.BOOL else _limits(kind.dtype)
    small = rng.integers(max(limits[0], -9), min(limits[1], 9), kind.shape, endpoint=True)
    large = rng.integers(*limits, kind.shape, np.int64, endpoint=True)
    return np.where(rng.random(kind.shape) < 0.5, small, large).astype(kind.dtype.numpy)


def _limits(dtype: DType) -> tuple[int, int]:
    limits = np.iinfo(dtype.numpy)
    return int(limits.min), int(limits.max)


def rounded(value: Real) -> Real:
    """Floating point as it is in f32."""
    return value.astype(np.float32).astype(np.float64) if value.dtype.kind == "f" else value


def stored(value: Real) -> NDArray[np.generic]:
    """An operand as it lies in memory."""
    return value.astype(dtype_of(value).numpy)


def parameter(spec: ParameterSpec, rng: np.random.Generator) -> Real:
    """Values for a parameter, in float64."""
    shape = spec.type.shape
    if spec.value is not None:
        return spec.value.astype(np.float64)
    match spec.initial.kind:
        case "weight":
            return rng.normal(size=shape) / np.sqrt(spec.initial.fan_in)
        case "zeros":
            return rng.normal(size=shape) / 2
        case "quarters":
            return rng.normal(size=shape) / 4
        case "ones":
            return rng.uniform(0.5, 1.5, shape)
    raise ValueError(spec.initial.kind)


def _cases(sample: Sample) -> Iterator[Case]:
    """One case, or one for each result of a composite."""
    several: tuple[Operator, ...]
    if isinstance(sample.op, Composite):
        several = sample.op.expand(*sample.types)
    else:
        assert isinstance(sample.op, Operator)
        several = (sample.op,)
    for op in several:
        yield make_case(op, sample.shapes, sample.dtypes, positive=sample.positive)


CASES = [case for each in operators() for sample in each.samples() for case in _cases(sample)]
