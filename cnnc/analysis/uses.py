"""How often each weight is used in one run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np

from cnnc.analysis.dependence import Dependence, operand_name
from cnnc.analysis.indices import Indices, evaluate_index, grid, variables
from cnnc.analysis.relation import MOST_LISTED
from cnnc.base.layout import Shape
from cnnc.loop.accesses import Access, Guard, Write, conjuncts, with_zeros
from cnnc.loop.expr import Expr


@dataclass(frozen=True, slots=True)
class Uses:
    """How often the elements of a parameter are used: least, mean, most, and all together."""

    least: int
    mean: float
    most: int
    total: int


@dataclass(frozen=True, slots=True)
class _Counts:
    """How often the elements along some axes of a parameter are used, in the axes' order."""

    axes: tuple[int, ...]
    counts: Indices


def count_uses(dependence: Dependence, place: int) -> Uses | None:
    """Uses of a parameter: runs of the loops around its load in which it meets an element.

    A weight multiplied by a padded zero is not used. None where there is too much to count.
    """
    shape = dependence.inputs[place].shape
    found = [
        _count(write, with_zeros(access), shape)
        for write in dependence.writes
        for access in write.reads
        if access.buffer == operand_name(place)
    ]
    if not found or any(factors is None for factors in found):
        return None
    known = [factors for factors in found if factors is not None]
    if len(known) == 1:
        return _of_product(known[0])
    if prod(shape) > MOST_LISTED:
        return None
    total = sum((_expand(factors) for factors in known), np.zeros(shape, np.int64))
    return Uses(int(total.min()), float(total.mean()), int(total.max()), int(total.sum()))


def _count(write: Write, access: Access, shape: Shape) -> list[_Counts] | None:
    """The uses by one load as a product of counts over disjoint axes."""
    guards = tuple(conjuncts(access.guards))
    atoms: list[tuple[int | None, Expr]] = [*enumerate(access.index)]
    atoms += [(None, guard.condition) for guard in guards]
    names = dict.fromkeys(access.loops)
    for _, expr in atoms:
        names.update(dict.fromkeys(sorted(variables(expr))))
    factors = []
    for group in _connected(list(names), [expr for _, expr in atoms]):
        axes = tuple(a for a, expr in atoms if a is not None and variables(expr) & set(group))
        held = [guard for guard in guards if variables(guard.condition) & set(group)]
        counted = _count_group(write, access, group, axes, held, shape)
        if counted is None:
            return None
        factors.append(counted)
    for axis, expr in enumerate(access.index):
        if not variables(expr):
            counts = np.zeros(shape[axis], np.int64)
            counts[int(evaluate_index(expr, {}))] = 1
            factors.append(_Counts((axis,), counts))
    return factors


def _connected(names: Sequence[str], exprs: Sequence[Expr]) -> list[tuple[str, ...]]:
    """The variables in groups that no expression joins."""
    groups = [{name} for name in names]
    for expr in exprs:
        used = variables(expr)
        joined = [group for group in groups if group & used]
        if joined:
            rest = [group for group in groups if not group & used]
            groups = [*rest, set().union(*joined)]
    return [tuple(sorted(group)) for group in groups]


def _count_group(
    write: Write,
    access: Access,
    names: tuple[str, ...],
    axes: tuple[int, ...],
    guards: Sequence[Guard],
    shape: Shape,
) -> _Counts | None:
    extents = {name: write.ranges[name][1] + 1 for name in names}
    full = tuple(extents.values())
    if not axes and not guards:
        return _Counts((), np.array(prod(full)))
    if prod(full) > MOST_LISTED:
        return None
    values = grid(names, extents)
    holds = np.ones(full, bool)
    for guard in guards:
        holds &= evaluate_index(guard.condition, values).astype(bool) == guard.holds
    flat = np.zeros((), np.int64)
    for axis in axes:
        flat = flat * shape[axis] + evaluate_index(access.index[axis], values)
    inner = tuple(shape[axis] for axis in axes)
    places = np.broadcast_to(flat, full)[holds]
    return _Counts(axes, np.bincount(places, minlength=prod(inner)).reshape(inner))


def _of_product(factors: Sequence[_Counts]) -> Uses:
    """Extremes and mean of an outer product are those of its factors, multiplied."""
    counts = [factor.counts for factor in factors]
    return Uses(
        prod(int(each.min()) for each in counts),
        prod(float(each.mean()) for each in counts),
        prod(int(each.max()) for each in counts),
        prod(int(each.sum()) for each in counts),
    )


def _expand(factors: Sequence[_Counts]) -> Indices:
    """The counts over all axes of the parameter."""
    made: Indices = reduce(np.multiply.outer, (factor.counts for factor in factors))
    order = [axis for factor in factors for axis in factor.axes]
    return made.transpose([order.index(axis) for axis in range(len(order))])
