"""Lattices: the values of a sum of loop variables, each with its step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from math import prod

from cnnc.loop.affine import affine
from cnnc.loop.expr import Expr, Var
from cnnc.loop.interval import Range

MOST_STEPS = 10_000
"""Branches of the search for a common value, before it gives up."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """constant + sum of step * t with 0 ≤ t < extent, every value once.

    `terms` are (step, extent), largest step first; each step is larger than what all smaller terms
    together can add.
    """

    constant: int
    terms: tuple[tuple[int, int], ...]

    @property
    def last(self) -> int:
        """The largest value; the smallest is the constant."""
        return self.constant + sum(step * (extent - 1) for step, extent in self.terms)

    def count_below(self, limit: int) -> int:
        """How many values are smaller than `limit`."""
        return _count(self.terms, limit - self.constant)

    def meets(self, other: "Lattice") -> bool | None:
        """Whether the two have a value in common; None where the search gave up."""
        if self.last < other.constant or other.last < self.constant:
            return False
        ranges: dict[int, Range] = {}
        for step, extent in self.terms:
            ranges[step] = (0, extent - 1)
        for step, extent in other.terms:
            low, high = ranges.get(step, (0, 0))
            ranges[step] = (low - extent + 1, high)
        terms = sorted(((step, *ends) for step, ends in ranges.items()), reverse=True)
        return _vanishes(self.constant - other.constant, terms)


def lattice_of(index: Expr, extents: Mapping[str, int]) -> Lattice | None:
    """The values of an index over its variables; None unless each comes once and is seen to."""
    form = affine(index)
    terms: list[tuple[int, int]] = []
    for term, step in form.terms:
        if not isinstance(term, Var) or step < 1:
            return None
        terms.append((step, extents[term.name]))
    reach = 0
    for step, extent in sorted(terms):
        if step <= reach:
            return None
        reach += step * (extent - 1)
    return Lattice(form.constant, tuple(sorted(terms, reverse=True)))


def _count(terms: tuple[tuple[int, int], ...], limit: int) -> int:
    """Values of a lattice from 0 that are smaller than `limit`."""
    if limit <= 0:
        return 0
    if not terms:
        return 1
    (step, extent), smaller = terms[0], terms[1:]
    # Smaller terms add less than a step.
    whole = min(extent, limit // step)
    below = whole * prod(count for _, count in smaller)
    return below + (_count(smaller, limit - whole * step) if whole < extent else 0)


def _vanishes(constant: int, terms: Sequence[tuple[int, int, int]]) -> bool | None:
    """Whether constant + sum of step * t with low ≤ t ≤ high can be zero; None if it gave up."""
    left = MOST_STEPS
    # what all terms from each one on add at least and at most
    least, most = (
        [*accumulate((term[0] * term[end] for term in reversed(terms)), initial=0)][::-1]
        for end in (1, 2)
    )

    def search(value: int, place: int) -> bool:
        nonlocal left
        left -= 1
        if left < 0 or place == len(terms):
            return left >= 0 and value == 0
        step, low, high = terms[place]
        place += 1
        # Only where smaller terms can still make up for the rest.
        first = max(low, -((value + most[place]) // step))
        last = min(high, (-value - least[place]) // step)
        tried = takewhile(lambda _: left >= 0, range(first, last + 1))
        return any(search(value + step * t, place) for t in tried)

    return True if search(constant, 0) else None if left < 0 else False
