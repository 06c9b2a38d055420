"""Which elements of its operands each element of a result reads, as a product over axes.

The loops of an operator say it: `writes` finds every store with the loads behind it, and both
have indices made of loop variables. Index parts that share no variable are independent, so the
relation falls apart into links: most often one for each axis. Every link is listed in full; their
product never is, and need not be.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from cnnc.analysis.indices import Indices, evaluate_index, grid, variables
from cnnc.base.layout import Shape
from cnnc.loop.accesses import Access, Write, conjuncts
from cnnc.loop.expr import Expr

MOST_LISTED = 1 << 24
"""Combinations of loop variables that one link may list."""


class TooLargeError(Exception):
    """A relation does not fall apart far enough to be listed."""


@dataclass(frozen=True, eq=False)
class Link:
    """Pairs (element along `out_axes` of the result, element along `in_axes` of the operand).

    Both are flat, row-major over the extents of those axes. Without out axes it is a set of operand
    elements that every result reads; without in axes, the results that read at all. Pairs are
    sorted by result, then operand, and none is there twice.
    """

    out_axes: tuple[int, ...]
    in_axes: tuple[int, ...]
    out_shape: Shape
    in_shape: Shape
    outs: Indices
    ins: Indices

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return len(self.outs)

    @cached_property
    def is_identity(self) -> bool:
        """Whether each element along one axis reads the same along the same axis."""
        every = np.arange(prod(self.out_shape))
        return (
            self.out_axes == self.in_axes
            and self.out_shape == self.in_shape
            and np.array_equal(self.outs, every)
            and np.array_equal(self.ins, every)
        )

    @property
    def keys(self) -> Indices:
        """Each pair as one number, ascending."""
        return self.outs * prod(self.in_shape) + self.ins


Term = tuple[Link, ...]
"""A product of links that together have every axis of the result and of the operand once."""


def link_of_keys(keys: Indices, model: Link) -> Link:
    """Other pairs along the axes of `model`, from ascending keys."""
    size = prod(model.in_shape)
    ends = (model.out_axes, model.in_axes, model.out_shape, model.in_shape)
    return Link(*ends, keys // size, keys % size)


@dataclass(frozen=True, slots=True)
class _Atom:
    """An index part of the store ("out"), of the load ("in"), or a guard."""

    role: str
    axis: int
    expr: Expr
    holds: bool = True


def read_term(write: Write, access: Access, out: Shape, operand: Shape) -> Term | None:
    """The relation between one store and one load behind it; None if nothing is ever read.

    TooLargeError where index parts hang together over too many combinations.
    """
    atoms = [_Atom("out", axis, part) for axis, part in enumerate(write.index)]
    atoms += [_Atom("in", axis, part) for axis, part in enumerate(access.index)]
    atoms += [_Atom("guard", 0, g.condition, g.holds) for g in conjuncts(access.guards)]
    extents = {name: high + 1 for name, (_, high) in write.ranges.items()}
    links = []
    for group in _connected(atoms):
        link = _enumerate(group, extents, out, operand)
        if not link.pairs:
            return None
        if link.out_axes or link.in_axes:
            links.append(link)
    return decouple(links)


def _connected(atoms: Sequence[_Atom]) -> Iterator[list[_Atom]]:
    """The atoms in groups that share no variable."""
    groups: list[tuple[frozenset[str], list[_Atom]]] = []
    for atom in atoms:
        names, members = variables(atom.expr), [atom]
        kept = []
        for known, others in groups:
            if known & names:
                names, members = names | known, others + members
            else:
                kept.append((known, others))
        groups = [*kept, (names, members)]
    for _, members in groups:
        yield members


def _enumerate(
    atoms: Sequence[_Atom], extents: Mapping[str, int], out: Shape, operand: Shape
) -> Link:
    names = tuple(sorted(frozenset[str]().union(*(variables(atom.expr) for atom in atoms))))
    shape = tuple(extents[name] for name in names)
    if prod(shape) > MOST_LISTED:
        raise TooLargeError
    values = grid(names, extents)
    holds = np.ones(shape, bool)
    for atom in atoms:
        if atom.role == "guard":
            holds &= evaluate_index(atom.expr, values).astype(bool) == atom.holds
    ends = []
    for role, extent_of in (("out", out), ("in", operand)):
        parts = sorted((a for a in atoms if a.role == role), key=lambda atom: atom.axis)
        axes = tuple(atom.axis for atom in parts)
        flat = np.zeros((), np.int64)
        for atom in parts:
            flat = flat * extent_of[atom.axis] + evaluate_index(atom.expr, values)
        ends.append((axes, tuple(extent_of[axis] for axis in axes), flat))
    (out_axes, out_shape, outs), (in_axes, in_shape, ins) = ends
    keys = np.unique(np.broadcast_to(outs * prod(in_shape) + ins, shape)[holds])
    size = prod(in_shape)
    return Link(out_axes, in_axes, out_shape, in_shape, keys // size, keys % size)


def decouple(links: Sequence[Link]) -> Term:
    """The links with those parted whose results all read the same."""
    parted: list[Link] = []
    for link in links:
        is_point = prod(link.out_shape) == prod(link.in_shape) == 1
        if link.out_axes and link.in_axes and not is_point:
            outs, ins = np.unique(link.outs), np.unique(link.ins)
            if len(outs) * len(ins) == link.pairs:
                parted.append(Link(link.out_axes, (), link.out_shape, (), outs, outs * 0))
                parted.append(Link((), link.in_axes, (), link.in_shape, ins * 0, ins))
                continue
        parted.append(link)
    return tuple(each for link in parted for each in _single_axes(link))


def _single_axes(link: Link) -> Iterator[Link]:
    """A set over several axes as sets over each, if it is their product."""
    axes, shape, members = link.out_axes, link.out_shape, link.outs
    if not axes:
        axes, shape, members = link.in_axes, link.in_shape, link.ins
    if len(axes) < 2 or (link.out_axes and link.in_axes):
        yield link
        return
    kept = [np.unique(part) for part in np.unravel_index(members, shape)]
    if prod(map(len, kept)) != link.pairs:
        yield link
        return
    for axis, extent, part in zip(axes, shape, kept, strict=True):
        zero = part * 0
        if link.out_axes:
            yield Link((axis,), (), (extent,), (), part, zero)
        else:
            yield Link((), (axis,), (), (extent,), zero, part)


def everything(out: Shape, operand: Shape) -> Term:
    """The relation in which every result reads every element of the operand."""
    links = []
    for axis, extent in enumerate(out):
        all_of = np.arange(extent)
        links.append(Link((axis,), (), (extent,), (), all_of, all_of * 0))
    for axis, extent in enumerate(operand):
        all_of = np.arange(extent)
        links.append(Link((), (axis,), (), (extent,), all_of * 0, all_of))
    return tuple(links)
