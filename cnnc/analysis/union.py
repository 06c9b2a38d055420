"""Unions of relations: few terms, no pair counted twice."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import prod

import numpy as np

from cnnc.analysis.indices import Indices
from cnnc.analysis.relation import MOST_LISTED, Link, Term, TooLargeError, decouple, link_of_keys

MOST_TERMS = 12
"""Terms whose overlaps are still counted: their number doubles with each."""


def unite(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The same union in fewer terms.

    A term inside another goes, and two that differ in one link only become one.
    """
    kept: list[Term] = []
    waiting = list(reversed(terms))
    while waiting:
        term = waiting.pop()
        for position, other in enumerate(kept):
            merged = _merge(term, other)
            if merged is not None:
                del kept[position]
                waiting.append(merged)
                break
        else:
            kept.append(term)
    return tuple(kept)


def count_pairs(terms: Sequence[Term]) -> int:
    """Distinct pairs of the union, by inclusion and exclusion; TooLargeError for too many terms."""
    if len(terms) > MOST_TERMS:
        raise TooLargeError
    total = 0
    for size in range(1, len(terms) + 1):
        for chosen in combinations(terms, size):
            common: Term | None = chosen[0]
            for other in chosen[1:]:
                common = _intersect(common, other) if common is not None else None
            if common is not None:
                total -= (-1) ** size * prod(link.pairs for link in common)
    return total


def _merge(first: Term, second: Term) -> Term | None:
    """One term for both, if there is one that holds exactly their union."""
    try:
        aligned = list(align(first, second))
    except TooLargeError:
        return None
    ones = [(a.keys, b.keys) for a, b in aligned]
    only_first = [not np.isin(a, b, assume_unique=True).all() for a, b in ones]
    only_second = [not np.isin(b, a, assume_unique=True).all() for a, b in ones]
    if not any(only_first):
        return second
    if not any(only_second):
        return first
    differ = [a or b for a, b in zip(only_first, only_second, strict=True)]
    if sum(differ) > 1:
        return None
    links = [
        link_of_keys(np.union1d(*keys), link) for (link, _), keys in zip(aligned, ones, strict=True)
    ]
    return decouple(links)


def _intersect(first: Term, second: Term) -> Term | None:
    links = []
    for a, b in align(first, second):
        keys = np.intersect1d(a.keys, b.keys, assume_unique=True)
        if not len(keys):
            return None
        links.append(link_of_keys(keys, a))
    return tuple(links)


def align(first: Term, second: Term) -> Iterator[tuple[Link, Link]]:
    """The links of both over the same axes, joined where one of them couples more than the other.

    TooLargeError where a joined link has too many pairs.
    """
    groups: list[tuple[set[tuple[str, int]], list[Link], list[Link]]] = []
    for side, term in enumerate((first, second)):
        for link in term:
            ends = {("out", axis) for axis in link.out_axes} | {("in", a) for a in link.in_axes}
            members: tuple[list[Link], list[Link]] = ([], [])
            members[side].append(link)
            kept = []
            for known, ours, theirs in groups:
                if known & ends:
                    ends |= known
                    members[0].extend(ours)
                    members[1].extend(theirs)
                else:
                    kept.append((known, ours, theirs))
            groups = [*kept, (ends, *members)]
    for _, ours, theirs in groups:
        yield _join(ours), _join(theirs)


def _join(links: Sequence[Link]) -> Link:
    """The product of links as one link, its axes in ascending order."""
    if len(links) == 1:
        return _sorted(links[0])
    if prod(link.pairs for link in links) > MOST_LISTED:
        raise TooLargeError
    outs, ins = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for link in links:
        outs = (outs[:, None] * prod(link.out_shape) + link.outs).ravel()
        ins = (ins[:, None] * prod(link.in_shape) + link.ins).ravel()
    return _sorted(
        Link(
            tuple(axis for link in links for axis in link.out_axes),
            tuple(axis for link in links for axis in link.in_axes),
            tuple(extent for link in links for extent in link.out_shape),
            tuple(extent for link in links for extent in link.in_shape),
            outs,
            ins,
        )
    )


def _sorted(link: Link) -> Link:
    """The same link with its axes in ascending order, and its pairs in theirs."""
    out_axes, out_shape, outs = _reorder(link.out_axes, link.out_shape, link.outs)
    in_axes, in_shape, ins = _reorder(link.in_axes, link.in_shape, link.ins)
    made = Link(out_axes, in_axes, out_shape, in_shape, outs, ins)
    return link_of_keys(np.sort(made.keys), made)


def _reorder(
    axes: tuple[int, ...], shape: tuple[int, ...], flat: Indices
) -> tuple[tuple[int, ...], tuple[int, ...], Indices]:
    order = sorted(range(len(axes)), key=lambda place: axes[place])
    if order == list(range(len(axes))):
        return axes, shape, flat
    parts = np.unravel_index(flat, shape)
    new_shape = tuple(shape[place] for place in order)
    flat = np.ravel_multi_index(tuple(parts[place] for place in order), new_shape)
    return tuple(axes[place] for place in order), new_shape, np.asarray(flat, np.int64)
