"""Attributes in the one form that the text shows: one number for all axes, the shortest floats."""

import numpy as np

from cnnc.base.dtype import DType
from cnnc.ops.attributes import Extents, Flag, Kind, PaddingKind, Value
from cnnc.ops.pool_weights import Size, Step
from cnnc.ops.spec import Named

_PER_AXIS = (Extents, PaddingKind, Size, Step)


def shown_attributes(op: Named, dtype: DType) -> tuple[tuple[str, Value], ...]:
    """Every attribute of an operator by name, those at their defaults too.

    Where the result is of f64, all digits of numbers count.
    """
    is_wide = dtype is DType.F64
    values = {
        each.name: _compact(each.kind, each.kind.unparse(getattr(op, each.name)), is_wide=is_wide)
        for each in op.attributes()
    }
    for name, usual in default_attributes(type(op)).items():
        value = values[name]
        if isinstance(value, float) and isinstance(usual, float) and not is_wide:
            values[name] = usual if np.float32(value) == np.float32(usual) else value
    if op.name == "pool" and values["stride"] == values["size"]:
        values["stride"] = ()
    return tuple(values.items())


def default_attributes(kind: type[Named]) -> dict[str, Value]:
    """What need not be written."""
    return {
        each.name: _compact(each.kind, each.kind.unparse(each.default), is_wide=False)
        for each in kind.attributes()
        if not each.required
    }


def _compact(kind: Kind[object], value: Value, *, is_wide: bool) -> Value:
    if isinstance(kind, Flag):
        return value
    value = value if is_wide else _shortest(value)
    if isinstance(kind, _PER_AXIS) and isinstance(value, tuple) and value:
        first = value[0]
        if all(part == first for part in value) and not isinstance(first, tuple):
            return first
    return value


def _shortest(value: Value) -> Value:
    """A number of f32 as few digits say it."""
    if isinstance(value, tuple):
        return tuple(map(_shortest, value))
    if not isinstance(value, float):
        return value
    single = np.float32(value)
    short = float(str(single))
    return short if float(single) == value or short == value else value
