"""Whether a kernel stores every element of its outputs exactly once.

A store whose index is made of its loops' variables fills a lattice along every axis, once; lattices
that do not meet and add up to the tensor prove it. Where that form is missing, elements are counted
if they are not too many.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnc.base.record import record
from cnnc.loop.affine import simplify
from cnnc.loop.expr import Binary, Buffer, Const, Expr, Ramp, Var
from cnnc.loop.kernel import Body, For, Kernel, Stmt, Store
from cnnc.loop.lattice import Lattice, lattice_of
from cnnc.loop.rewrite import parts, transform

MOST_COUNTED = 1 << 22
"""Elements that are still counted one by one; larger tensors are then taken on trust."""

Grid = tuple[Lattice, ...]
"""A lattice for each axis; a store fills their product."""
Counts = NDArray[np.int64]


@record
class Fault:
    """A broken rule and the statement to blame, if it is one."""

    rule: str
    why: str
    stmt: Stmt | None


@record
class _Write:
    """A store with the extents of all variables its index runs over, lanes included."""

    store: Store
    index: tuple[Expr, ...]
    extents: Mapping[str, int]

    @property
    def count(self) -> int:
        """Elements it stores, counted as often as it stores them."""
        return prod(self.extents.values())


def find_coverage_fault(kernel: Kernel) -> Fault | None:
    """The first output that is not stored once, or None.

    Of flat kernels, which do not know their tensors, only that nothing is stored twice.
    """
    is_flat = all(len(p.shape) == 1 and p.layout.is_plain for p in kernel.params)
    for param in kernel.params:
        if param.name in kernel.outputs:
            writes = [write for write in _writes(kernel.body, {}) if write.store.buffer == param]
            if not writes:
                return Fault("outputs", f"{param.name} is never written", None)
            fault = _find_fault(param, writes, is_flat)
            if fault:
                return fault
    return None


def _writes(body: Body, extents: Mapping[str, int]) -> Iterator[_Write]:
    for stmt in body:
        match stmt:
            case For(var, extent, inner):
                yield from _writes(inner, {**extents, var: extent})
            case Store(_, index, _):
                yield _spread(stmt, index, extents)


def _spread(store: Store, index: tuple[Expr, ...], loops: Mapping[str, int]) -> _Write:
    """The lanes of a ramp as one more variable; variables of one iteration are zero."""
    lanes = max((part.lanes for part in index), default=1)
    kept = {var: extent for var, extent in {**loops, ":+": lanes}.items() if extent > 1}
    ranges = {var: (0, extent - 1) for var, extent in kept.items()}

    def change(part: Expr) -> Expr | None:
        match part:
            case Var(name) if name not in kept:
                return Const(0)
            case Ramp(base, _, stride):
                return base + Var(":+") * stride
        return None

    spread = tuple(simplify(transform(part, change), ranges) for part in index)
    return _Write(store, spread, kept)


def _find_fault(out: Buffer, writes: Sequence[_Write], is_flat: bool) -> Fault | None:
    for write in writes:
        used = {part.name for each in write.index for part in parts(each) if isinstance(part, Var)}
        idle = sorted(set(write.extents) - used)
        if idle:
            why = f"every iteration of {idle[0]} stores the same element of {out.name}"
            return Fault("once", why, write.store)
    grids = [_grid_of(write) for write in writes]
    known = [grid for grid in grids if grid is not None]
    if len(known) == len(grids):
        meeting, is_known = _first_meeting(known)
        if meeting is not None:
            return Fault("once", f"{out.name} is stored twice", writes[meeting].store)
        if is_known:
            return None if is_flat else _missing_of(out, known)
    if sum(write.count for write in writes) <= MOST_COUNTED >= out.size:
        return _count(out, writes, is_flat)
    return None


def _grid_of(write: _Write) -> Grid | None:
    """The elements a store fills, each once; None if its index has another form."""
    seen: set[str] = set()
    grid: list[Lattice] = []
    for part in write.index:
        names = {each.name for each in parts(part) if isinstance(each, Var)}
        lattice = lattice_of(part, write.extents)
        if lattice is None or names & seen:
            return None
        seen |= names
        grid.append(lattice)
    return tuple(grid)


def _first_meeting(grids: Sequence[Grid]) -> tuple[int | None, bool]:
    """The number of the first grid that meets an earlier one, and whether that is all known."""
    is_known = True
    for (_, first), (number, second) in combinations(enumerate(grids), 2):
        meet = _meet(first, second)
        if meet:
            return number, True
        is_known &= meet is not None
    return None, is_known


def _meet(first: Grid, second: Grid) -> bool | None:
    """Whether two grids have an element in common: not if they are apart on one axis."""
    is_known = True
    for a, b in zip(first, second, strict=True):
        meet = a.meets(b)
        if meet is False:
            return False
        is_known &= meet is not None
    return True if is_known else None


def _missing_of(out: Buffer, grids: Sequence[Grid]) -> Fault | None:
    inside = [
        prod(
            lattice.count_below(extent) - lattice.count_below(0)
            for lattice, extent in zip(grid, out.shape, strict=True)
        )
        for grid in grids
    ]
    return _missing(out, prod(out.shape) - sum(inside))


def _missing(out: Buffer, count: int) -> Fault | None:
    if count == 0:
        return None
    why = f"{count} of {prod(out.shape)} elements of {out.name} are never stored"
    return Fault("once", why, None)


def _count(out: Buffer, writes: Sequence[_Write], is_flat: bool) -> Fault | None:
    """Count how often each element is stored, halo and padding included."""
    axes = range(len(out.shape))
    starts = [out.layout.halo_of(axis)[0] for axis in axes]
    shape = tuple(out.layout.extent(out.shape, axis) for axis in axes)
    counts: Counts = np.zeros(prod(shape), np.int64)
    for write in writes:
        places: Counts = np.zeros(tuple(write.extents.values()), np.int64)
        for part, start, extent in zip(write.index, starts, shape, strict=True):
            places = places * extent + _grid(part, write.extents) + start
        counts += np.bincount(places.ravel(), minlength=len(counts))
        if counts.max() > 1:
            where = [int(i) for i in np.unravel_index(int(counts.argmax()), shape)]
            shown = [place - start for place, start in zip(where, starts, strict=True)]
            return Fault("once", f"{out.name}{shown} is stored twice", write.store)
    if is_flat:
        return None
    window = tuple(slice(s, s + extent) for s, extent in zip(starts, out.shape, strict=True))
    return _missing(out, prod(out.shape) - int(counts.reshape(shape)[window].sum()))


_OPERATIONS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "min": np.minimum,
    "max": np.maximum,
}


def _grid(index: Expr, extents: Mapping[str, int]) -> Counts:
    """The index at every combination of the variables: one axis for each."""
    match index:
        case Const(value, None):
            return np.array(value, np.int64)
        case Var(name):
            axis = list(extents).index(name)
            shape = [-1 if place == axis else 1 for place in range(len(extents))]
            return np.arange(extents[name], dtype=np.int64).reshape(shape)
        case Binary(op, left, right) if op in _OPERATIONS:
            result: Counts = _OPERATIONS[op](_grid(left, extents), _grid(right, extents))
            return result
    raise TypeError(f"{index!r} is no index to store at")
