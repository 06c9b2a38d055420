"""Index expressions at many points at once."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cnnc.loop.expr import Binary, Compare, Const, Expr, Select, Var
from cnnc.loop.rewrite import parts

Indices = NDArray[np.int64]

_OPERATIONS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.logical_and,
    "or": np.logical_or,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


def evaluate_index(expr: Expr, values: Mapping[str, Indices]) -> Indices:
    """An index or a condition on indices where the variables have these values.

    The values broadcast against each other. TypeError for what is no index.
    """
    match expr:
        case Const(value):
            return np.asarray(int(value), np.int64)
        case Var(name):
            return values[name]
        case Binary(op, left, right) | Compare(op, left, right) if op in _OPERATIONS:
            a, b = evaluate_index(left, values), evaluate_index(right, values)
            return np.asarray(_OPERATIONS[op](a, b))
        case Select(condition, then, otherwise):
            chosen = evaluate_index(condition, values).astype(bool)
            return np.where(chosen, evaluate_index(then, values), evaluate_index(otherwise, values))
    raise TypeError(f"{expr!r} is no index")


def variables(expr: Expr) -> frozenset[str]:
    """The loop variables of an expression."""
    return frozenset(part.name for part in parts(expr) if isinstance(part, Var))


def grid(names: tuple[str, ...], extents: Mapping[str, int]) -> dict[str, Indices]:
    """Every combination of the variables: one array axis for each, to be broadcast."""
    made: dict[str, Indices] = {}
    for place, name in enumerate(names):
        shape = [-1 if place == axis else 1 for axis in range(len(names))]
        made[name] = np.arange(extents[name], dtype=np.int64).reshape(shape)
    return made
