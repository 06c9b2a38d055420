"""Arithmetic on indices, elements and vectors."""

import operator
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.errors import InternalError

Index: TypeAlias = int | NDArray[np.int64]
"""An index, or one for each lane."""
Value: TypeAlias = int | np.generic | NDArray[np.generic]
"""An index or an element, or one for each lane."""

BINARY: Mapping[str, Callable[..., Value]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "min": np.minimum,
    "max": np.maximum,
    "and": operator.and_,
    "or": operator.or_,
}
COMPARISONS: Mapping[str, Callable[..., Value]] = {
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}


def fused(a: np.floating, b: np.floating, c: np.floating) -> Value:
    """a * b + c. The product of float32 is exact in float64; the sum is rounded there first."""
    total: Value = (a.astype(np.float64) * b + c).astype(c.dtype)
    return total


def convert(value: Value, dtype: DType) -> Value:
    """The value as another element type, as `Cast` says."""
    array = np.asarray(value)
    if dtype is DType.BOOL or dtype.is_float or array.dtype.kind != "f":
        return array.astype(dtype.numpy)[()]
    # The next float beyond either limit is exact, the limits themselves may be none.
    limits, wide = np.iinfo(dtype.numpy.str), array.astype(np.float64)
    low, high = wide <= float(limits.min) - 1, wide >= float(limits.max) + 1
    inside = np.where(low | high | np.isnan(wide), 0, wide).astype(dtype.numpy)
    made = np.where(low, limits.min, np.where(high, limits.max, inside))
    return made.astype(dtype.numpy)[()]


def select(condition: Value, then: Value, otherwise: Value) -> Value:
    """`then` where the condition holds."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, then, otherwise)
    return then if condition else otherwise


def _ldexp(x: np.floating, n: np.floating) -> Value:
    """x * 2**n; InternalError for an n that machine code, which builds 2**(n / 2), cannot take."""
    limit = 252 if x.dtype == np.float32 else 2044
    if not np.all((np.abs(n) <= limit) & (n == np.rint(n))):
        raise InternalError(f"ldexp by {n}", stage="loops")
    scaled: Value = np.ldexp(x, np.asarray(n).astype(np.int32)).astype(x.dtype)
    return scaled


def _exponent(x: np.floating) -> Value:
    exponent: Value = (np.frexp(x)[1] - 1).astype(x.dtype)
    return exponent


def _mantissa(x: np.floating) -> Value:
    mantissa: Value = np.frexp(x)[0] * x.dtype.type(2)
    return mantissa


PRIMITIVES: Mapping[str, Callable[..., Value]] = {
    "sqrt": np.sqrt,
    "abs": np.abs,
    "ldexp": _ldexp,
    "exponent": _exponent,
    "mantissa": _mantissa,
    "copysign": np.copysign,
}
