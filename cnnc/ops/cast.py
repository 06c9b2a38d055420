"""Conversion to another element type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from cnnc.base.dtype import DType
from cnnc.ir.evaluate import round_to
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Cast as Convert
from cnnc.loop.expr import Expr
from cnnc.ops.attributes import Kind, Symbol, Value
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Real, Sample, attr, operator

_COMPUTED = (DType.F32, DType.F64, DType.I32, DType.I64, DType.U8, DType.BOOL)


@dataclass(frozen=True)
class ElementType(Kind[DType]):
    """An element type by name."""

    keywords: Sequence[str] = tuple(dtype.value for dtype in _COMPUTED)

    def parse(self, value: Value) -> DType:
        """See Kind."""
        if isinstance(value, Symbol) and value.name in self.keywords and not value.args:
            return DType(value.name)
        raise self.refuse(value)

    def describe(self) -> str:
        """See Kind."""
        return ", ".join(self.keywords)

    def unparse(self, field: DType) -> Value:
        """See Kind."""
        return Symbol(field.value)


@operator("cast")
class Cast(Pointwise):
    """The elements in another type: `x -> cast(i32)`.

    Floating point becomes an integer toward zero. What is too large for the integer becomes its
    largest or smallest value, and NaN becomes 0. Integers become narrower ones modulo 2^bits: 300
    is 44 as u8. A truth value is 0 or 1; everything but 0 is true, NaN too.
    """

    dtype: DType = attr(ElementType(), doc="element type of the result")

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator: any element type."""
        return TensorType.plain(inputs[0].shape, self.dtype)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return convert(inputs[0], self.dtype)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return args[0] if args[0].dtype is self.dtype else Convert(args[0], self.dtype)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: to an integer, how far the results at x ± error are apart.

        Conversion from floating point is monotonic, so no x in between gives more; an integer that
        the error may carry beyond the narrower type's range can become any other. A truth value is
        uncertain where the error reaches 0. What becomes f32 is rounded here and there, so exact
        operands give equal results.
        """
        x, error = inputs[0], errors[0]
        if self.dtype.is_float:
            rounding = 2 * self.dtype.unit_roundoff * (np.abs(out) + error)
            return np.where(error > 0, error + rounding, 0.0)
        if self.dtype is DType.BOOL:
            bound: Real = ((np.abs(x.astype(np.float64)) <= error) & (error > 0)).astype(np.float64)
            return bound
        if not error.any():
            return np.zeros(out.shape)
        if x.dtype.kind != "f":
            if np.can_cast(x.dtype, self.dtype.numpy):
                return error
            limits, middle = np.iinfo(self.dtype.numpy.str), out.astype(np.float64)
            wraps = (middle - error < limits.min) | (middle + error > limits.max)
            return np.where(wraps, float(limits.max) - float(limits.min), error)
        middle = x.astype(np.float64)
        ends = [
            convert(each, self.dtype).astype(np.float64)
            for each in (middle - error, middle + error)
        ]
        return np.maximum(*(np.abs(end - out.astype(np.float64)) for end in ends))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        shapes = ((1, 1), (2, 17, 3), (1, 3, 5, 19))
        # tests run every sample of f32 in f64 too
        kinds = [dtype for dtype in _COMPUTED if dtype is not DType.F64]
        pairs = [(source, target) for source in kinds for target in kinds]
        return tuple(
            Sample(cls(target), (shapes[number % len(shapes)],), (source,))
            for number, (source, target) in enumerate(pairs)
        )


def convert(x: Real, dtype: DType) -> Real:
    """What `cast` makes of an array; floating point comes and goes as float64."""
    if dtype.is_float:
        return round_to(x, dtype).astype(np.float64)
    if dtype is DType.BOOL or x.dtype.kind != "f":
        return cast(Real, (x != 0 if dtype is DType.BOOL else x).astype(dtype.numpy))
    limits = np.iinfo(dtype.numpy.str)
    made = np.zeros(x.shape, dtype.numpy)
    # 2^63 is a float64 and no i64, so the limits are compared before anything is converted.
    too_large, too_small = x >= float(limits.max) + 1, x <= float(limits.min) - 1
    fits = ~(too_large | too_small | np.isnan(x))
    made[fits] = x[fits].astype(dtype.numpy)
    made[too_large], made[too_small] = limits.max, limits.min
    return cast(Real, made)
