"""How one operator's result moves when its operands move along an axis.

Everything is read off the loops. If a variable v of the result's axis grows by some steps, the
loads of a moving operand must move by as much as the operand does; everything else that depends
on v - guards, positions that enter as numbers, weights - must stay what it is. Where that fails,
at the edges, results are in the margin.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from cnnc.analysis.dependence import Dependence, operand_name
from cnnc.analysis.indices import evaluate_index, grid, variables
from cnnc.analysis.lines import (
    LONGEST_PERIOD,
    Pace,
    followed_by,
    leaves,
    pace,
    period_of,
    position_of,
)
from cnnc.analysis.region import Factor, Mask, Region
from cnnc.ir.graph import Array, Node
from cnnc.loop.accesses import Access, Guard, Write, conjuncts
from cnnc.loop.expr import Expr
from cnnc.ops.spec import Operator


@dataclass(frozen=True, slots=True)
class Track:
    """One store that follows a moving operand: when `operand_steps[place]` positions pass there,
    `steps` pass along `axis` of the result. `variable` counts them, `step` at a time."""

    write: Write
    axis: int
    variable: str
    step: int
    steps: int
    operand_steps: Mapping[int, int]


class CannotFollowError(Exception):
    """The result does not move with its operands; the message says why."""


def fixed_values(node: Node) -> Mapping[str, Array]:
    """Operands with values that are part of the network's text, and not trained."""
    assert isinstance(node.op, Operator)
    count = len(node.inputs)
    specs = node.op.parameters(*(operand.type for operand in data_operands(node)))
    trained = {count - len(specs) + place for place, spec in enumerate(specs) if spec.value is None}
    return {
        operand_name(place): operand.constant
        for place, operand in enumerate(node.inputs)
        if operand.constant is not None and place not in trained
    }


def data_operands(node: Node) -> tuple[Node, ...]:
    """The operands that are not parameters of the operator."""
    prefix = f"{node.name}."
    return tuple(o for o in node.inputs if not (o.is_leaf and o.name.startswith(prefix)))


def find_track(node: Node, write: Write, moving: Mapping[int, int]) -> Track | None:
    """How a store follows its moving operands, given the axis each moves along.

    None if no load of them follows an axis of the result. CannotFollowError says what prevents it.
    """
    followed = [
        (place, access, found)
        for place, axis in moving.items()
        for access in loads(write, place)
        if (found := followed_by(write, access.index[axis], axis)) and _extent(write, found[1]) > 1
    ]
    if not followed:
        return None
    (axis, variable), *others = dict.fromkeys(found for _, _, found in followed)
    position = position_of(write.index[axis], variable, write.ranges)
    if others or position is None:
        raise CannotFollowError("it mixes positions with other axes")
    paces: dict[int, Pace] = {}
    for place, access, _ in followed:
        found_pace = pace(access.index[moving[place]], variable)
        if found_pace is None or found_pace.rise <= 0:
            raise CannotFollowError("it reads its operand in another order")
        if paces.setdefault(place, found_pace) != found_pace:
            raise CannotFollowError("its loads move by different steps")
    periods = [found.period for found in paces.values()]
    period = lcm(*periods, *_other_periods(node, write, variable, moving))
    if period > LONGEST_PERIOD:
        raise CannotFollowError("it repeats after too many positions")
    steps = {place: found.over(period) for place, found in paces.items()}
    return Track(write, axis, variable, position[0], period * position[0], steps)


def loads(write: Write, place: int) -> Iterator[Access]:
    """The loads of one operand."""
    return (access for access in write.reads if access.buffer == operand_name(place))


def _other_periods(
    node: Node, write: Write, variable: str, moving: Mapping[int, int]
) -> Iterator[int]:
    """Periods of whatever else depends on the variable."""
    fixed = fixed_values(node)
    for access in write.reads:
        if not any(variable in variables(part) for part in access.index):
            continue
        place = int(access.buffer[1:])
        if place not in moving and access.buffer not in fixed:
            name = node.inputs[place].name
            if node.inputs[place] in data_operands(node):
                raise CannotFollowError(f"`{name}`, which it also reads, does not move along")
            raise CannotFollowError(f"`{name}` differs from position to position")
        for axis, part in enumerate(access.index):
            if moving.get(place) != axis:
                yield period_of(part, variable)
    for number in write.numbers:
        yield period_of(number.index, variable)
    for leaf in leaves(write.choices):
        yield period_of(leaf, variable)


def differs(node: Node, track: Track, moving: Mapping[int, int], steps: int) -> Region:
    """The results that are not what the result `steps` positions before is, for a reason of this
    operator: an edge, a weight, or no such position. Operands have moved by as much as the track
    says."""
    write, variable = track.write, track.variable
    delta = steps // track.step
    _, high = write.ranges[variable]
    bad = np.arange(high + 1) < delta
    for access in write.reads:
        place = int(access.buffer[1:])
        if place in moving:
            rise = track.operand_steps.get(place, 0) * steps // track.steps
            for axis, part in enumerate(access.index):
                wanted = rise if axis == moving[place] else 0
                if variable in variables(part):
                    bad |= _moved_otherwise(write, part, access.guards, variable, delta, wanted)
        elif any(variable in variables(part) for part in access.index):
            value = fixed_values(node)[access.buffer]
            bad |= _other_values(write, access, value, variable, delta)
    for number in write.numbers:
        if variable in variables(number.index):
            bad |= _moved_otherwise(write, number.index, (), variable, delta, 0)
    for leaf in leaves(write.choices):
        if variable in variables(leaf):
            bad |= _moved_otherwise(write, leaf, (), variable, delta, 0)
    return stored(write, node.type.shape, {variable: bad})


def _moved_otherwise(
    write: Write,
    part: Expr,
    guards: Sequence[Guard],
    variable: str,
    delta: int,
    wanted: int,
) -> Mask:
    """For each value of the variable, whether the index there is not that of `delta` steps before
    plus `wanted`, anywhere the guards hold."""
    related = [g for g in conjuncts(tuple(guards)) if variable in variables(g.condition)]
    names, values, before = _points(write, [part, *(g.condition for g in related)], variable, delta)
    now = evaluate_index(part, values).astype(np.int64)
    then = evaluate_index(part, before).astype(np.int64)
    wrong = np.broadcast_to(now - then != wanted, tuple(_extent(write, name) for name in names))
    for guard in related:
        wrong = wrong & (evaluate_index(guard.condition, values).astype(bool) == guard.holds)
    return _along(wrong, names, variable)


def _other_values(write: Write, access: Access, value: Array, variable: str, delta: int) -> Mask:
    """For each value of the variable, whether the table holds another number there than `delta`
    steps before."""
    names, values, before = _points(write, access.index, variable, delta)
    shape = tuple(_extent(write, name) for name in names)
    now, then = (
        value[tuple(np.broadcast_to(evaluate_index(part, at), shape) for part in access.index)]
        for at in (values, before)
    )
    return _along(now != then, names, variable)


def _points(
    write: Write, exprs: Sequence[Expr], variable: str, delta: int
) -> tuple[tuple[str, ...], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All combinations of the expressions' variables, and the same `delta` steps before."""
    names = tuple(sorted(frozenset[str]().union(*(variables(expr) for expr in exprs))))
    values = grid(names, {name: _extent(write, name) for name in names})
    return names, values, {**values, variable: np.maximum(values[variable] - delta, 0)}


def _extent(write: Write, name: str) -> int:
    return write.ranges[name][1] + 1


def _extents(write: Write) -> dict[str, int]:
    return {name: high + 1 for name, (_, high) in write.ranges.items()}


def _along(wrong: Mask, names: tuple[str, ...], variable: str) -> Mask:
    others = tuple(place for place, name in enumerate(names) if name != variable)
    return np.asarray(wrong.any(axis=others))


def stored(write: Write, shape: tuple[int, ...], only: Mapping[str, Mask]) -> Region:
    """The elements that a store writes, for the chosen values of some variables."""
    if any(not mask.any() for mask in only.values()):
        return Region(shape)
    factors = []
    for axis, (extent, part) in enumerate(zip(shape, write.index, strict=True)):
        names = tuple(sorted(variables(part)))
        values = grid(names, {name: _extent(write, name) for name in names})
        holds = np.ones(tuple(_extent(write, name) for name in names), bool)
        for name, mask in only.items():
            if name in names:
                holds &= mask[values[name]]
        mask = np.zeros(extent, bool)
        mask[np.broadcast_to(evaluate_index(part, values), holds.shape)[holds]] = True
        factors.append(Factor((axis,), mask))
    return Region(shape, (tuple(factors),))


def reads_all_alike(dependence: Dependence, moving: Mapping[int, int]) -> bool:
    """Whether all loads of moving operands run over the whole axis they move along, and nothing
    else depends on where: sums, means and maxima over it."""
    for write in dependence.writes:
        for place, axis in moving.items():
            for access in loads(write, place):
                index = access.index[axis]
                names = variables(index)
                read = evaluate_index(index, grid(tuple(names), _extents(write)))
                if len(np.unique(read)) < dependence.inputs[place].shape[axis]:
                    return False
                rest = [part for p, part in enumerate(access.index) if p != axis]
                rest += [
                    part
                    for other in write.reads
                    if other is not access and int(other.buffer[1:]) not in moving
                    for part in other.index
                ]
                rest += [number.index for number in write.numbers] + list(leaves(write.choices))
                if any(names & variables(part) for part in rest):
                    return False
    return True
