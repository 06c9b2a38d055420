"""Numbers as C writes them."""

from math import isinf, isnan

import numpy as np

from cnnc.backends.c.types import ATOM, UNARY, Value
from cnnc.base.dtype import DType


def literal(value: int | float, dtype: DType | None) -> Value:
    """A constant; of a float, the shortest text that is read back as the same number."""
    if dtype is None:
        return Value(str(value), ATOM if value >= 0 else UNARY, None)
    if dtype.is_float:
        text = _float(float(value), dtype)
    elif dtype is DType.I64:
        text = _integer(int(value), 64)
    elif dtype is DType.I32:
        text = _integer(int(value), 32)
    else:
        text = str(int(value))
    return Value(text, UNARY if text.startswith("-") else ATOM, dtype)


def _float(value: float, dtype: DType) -> str:
    wide = dtype is DType.F64
    with np.errstate(over="ignore"):
        number = float(value if wide else np.float32(value))
    sign = "-" if np.signbit(number) else ""
    if isnan(number):
        return f"NAN_{str(dtype).upper()}"
    if isinf(number):
        return f"{sign}INFINITE_{str(dtype).upper()}"
    text = repr(number) if wide else str(np.float32(number))
    if "." not in text and "e" not in text:
        text += ".0"
    return text if wide else f"{text}f"


def _integer(value: int, bits: int) -> str:
    if value == -(1 << (bits - 1)):
        return f"INT{bits}_MIN"
    text = str(value)
    return f"INT64_C({text})" if bits == 64 else text
