"""Sets of elements of a tensor, as unions of products over axes, and their images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnc.analysis.relation import Link, Term
from cnnc.base.layout import Shape

Mask = NDArray[np.bool_]
MOST_PRODUCTS = 8
"""Products beyond which a set is kept as one mask over all axes."""


@dataclass(frozen=True, eq=False)
class Factor:
    """A set over some axes: a mask with one dimension for each."""

    axes: tuple[int, ...]
    mask: Mask


Product = tuple[Factor, ...]
"""Sets over disjoint axes that together are all axes of the tensor."""


@dataclass(frozen=True, eq=False)
class Region:
    """A set of elements of a tensor of this shape: the union of the products."""

    shape: Shape
    products: tuple[Product, ...] = ()

    @staticmethod
    def box(shape: Shape, ranges: Sequence[slice]) -> "Region":
        """The elements within a slice along each axis."""
        factors = []
        for axis, (extent, part) in enumerate(zip(shape, ranges, strict=True)):
            mask = np.zeros(extent, bool)
            mask[part] = True
            factors.append(Factor((axis,), mask))
        return Region(shape, (tuple(factors),))

    @property
    def is_empty(self) -> bool:
        """Whether no element belongs to it."""
        return not self.products

    @property
    def count(self) -> int:
        """How many elements belong to it."""
        if len(self.products) == 1:
            return prod(int(np.count_nonzero(factor.mask)) for factor in self.products[0])
        return int(np.count_nonzero(self.mask())) if self.products else 0

    def mask(self) -> Mask:
        """The set as a truth value for every element."""
        total = np.zeros(self.shape, bool)
        for product in self.products:
            total |= _expand(product, tuple(range(len(self.shape))))
        return total

    def along(self, axis: int) -> Mask:
        """The positions along an axis that any element has."""
        total = np.zeros(self.shape[axis], bool)
        for product in self.products:
            for factor in product:
                if axis in factor.axes:
                    others = tuple(p for p, each in enumerate(factor.axes) if each != axis)
                    total |= factor.mask.any(axis=others)
        return total

    def hull(self, axis: int) -> tuple[int, int]:
        """First and last position along an axis, of a set that is not empty."""
        places = np.flatnonzero(self.along(axis))
        return int(places[0]), int(places[-1])

    def union(self, other: "Region") -> "Region":
        """The elements of either."""
        products = list(self.products)
        for product in other.products:
            _add(products, product)
        if len(products) > MOST_PRODUCTS:
            mask = Region(self.shape, tuple(products)).mask()
            return Region(self.shape, (_split(tuple(range(mask.ndim)), mask),))
        return Region(self.shape, tuple(products))

    def read_by(self, terms: Sequence[Term], operand: Shape) -> "Region":
        """The operand's elements that these results read."""
        return self._image(terms, operand, backward=True)

    def readers(self, terms: Sequence[Term], out: Shape) -> "Region":
        """The results that read any of these elements of an operand."""
        return self._image(terms, out, backward=False)

    def _image(self, terms: Sequence[Term], shape: Shape, backward: bool) -> "Region":
        made = Region(shape)
        for term in terms:
            if all(link.is_identity for link in term):
                made = made.union(Region(shape, self.products))
                continue
            images = [_image(product, term, backward) for product in self.products]
            for image in images:
                if image is not None:
                    made = made.union(Region(shape, (image,)))
        return made


def _image(product: Product, term: Term, backward: bool) -> Product | None:
    """The image of one product under one term: again a product, or None if it is empty."""
    masks = {factor.axes[0]: factor.mask for factor in product if len(factor.axes) == 1}
    if len(masks) == len(product) and all(
        len(link.out_axes) < 2 and len(link.in_axes) < 2 for link in term
    ):
        return _image_by_axis(masks, term, backward)
    result: list[Factor] = []
    for factors, links in _connected(product, term, backward):
        source = tuple(axis for factor in factors for axis in factor.axes)
        mask, axes = _expand(factors, source), source
        for link in links:
            mask, axes = _apply(mask, axes, link, backward)
        if not mask.any():
            return None
        result += _split(tuple(-1 - axis for axis in axes), mask)
    return tuple(sorted(result, key=lambda factor: factor.axes))


def _image_by_axis(masks: Mapping[int, Mask], term: Term, backward: bool) -> Product | None:
    """The same where neither the product nor the term joins two axes: most of the time."""
    result = []
    for link in term:
        source, target = (link.outs, link.ins) if backward else (link.ins, link.outs)
        read, made = (link.out_axes, link.in_axes) if backward else (link.in_axes, link.out_axes)
        held = masks[read[0]] if read else None
        if held is not None and link.is_identity:
            result.append(Factor(made, held))
            continue
        reached = target if held is None else target[held[source]]
        if not len(reached):
            return None
        if made:
            mask = np.zeros(link.in_shape if backward else link.out_shape, bool)
            mask[reached] = True
            result.append(Factor(made, mask))
    return tuple(sorted(result, key=lambda factor: factor.axes))


def _connected(
    product: Product, term: Term, backward: bool
) -> list[tuple[list[Factor], list[Link]]]:
    """Factors and links in groups that share no source axis."""
    groups: list[tuple[set[int], list[Factor], list[Link]]] = [
        (set(factor.axes), [factor], []) for factor in product
    ]
    for link in term:
        axes, links = set(link.out_axes if backward else link.in_axes), [link]
        factors: list[Factor] = []
        kept = []
        for known, ours, theirs in groups:
            if known & axes:
                axes, factors, links = axes | known, factors + ours, theirs + links
            else:
                kept.append((known, ours, theirs))
        groups = [*kept, (axes, factors, links)]
    return [(factors, links) for _, factors, links in groups]


def _apply(
    mask: Mask, axes: tuple[int, ...], link: Link, backward: bool
) -> tuple[Mask, tuple[int, ...]]:
    """The mask with the link's source axes replaced by its target axes, which come first.

    Target axes are written as -1 - axis, as a source axis may have the same number.
    """
    source, target = (link.outs, link.ins) if backward else (link.ins, link.outs)
    source_axes, target_axes = link.out_axes, link.in_axes
    shape = link.in_shape
    if not backward:
        source_axes, target_axes, shape = link.in_axes, link.out_axes, link.out_shape
    places = [axes.index(axis) for axis in source_axes]
    rest = [place for place in range(mask.ndim) if place not in places]
    rest_shape = tuple(mask.shape[place] for place in rest)
    flat = mask.transpose([*places, *rest]).reshape(-1, prod(rest_shape))
    made = np.zeros((prod(shape), flat.shape[1]), bool)
    if flat.shape[1] == 1:
        made[target[flat[source, 0]], 0] = True
    else:
        np.logical_or.at(made, target, flat[source])
    kept = tuple(axes[place] for place in rest)
    return made.reshape((*shape, *rest_shape)), (*(-1 - axis for axis in target_axes), *kept)


def _expand(factors: Sequence[Factor], axes: tuple[int, ...]) -> Mask:
    """The product as one mask over the axes, in this order."""
    if not factors:
        return np.ones((), bool)
    joined = reduce(np.multiply.outer, (factor.mask for factor in factors))
    order = [axis for factor in factors for axis in factor.axes]
    mask: Mask = joined.transpose([order.index(axis) for axis in axes])
    return mask


def _split(axes: tuple[int, ...], mask: Mask) -> Product:
    """A set that is not empty as a product over as many single axes as come off."""
    factors: list[Factor] = []
    count = int(np.count_nonzero(mask))
    for axis in axes:
        if len(axes) == 1:
            break
        place = axes.index(axis)
        along = np.asarray(mask.any(axis=tuple(p for p in range(mask.ndim) if p != place)))
        rest = np.asarray(mask.any(axis=place))
        others = int(np.count_nonzero(rest))
        if int(np.count_nonzero(along)) * others == count:
            factors.append(Factor((axis,), along))
            axes, mask, count = (*axes[:place], *axes[place + 1 :]), rest, others
    return (*factors, _in_order(axes, mask)) if axes else tuple(factors)


def _in_order(axes: tuple[int, ...], mask: Mask) -> Factor:
    order = sorted(range(len(axes)), key=lambda place: axes[place])
    return Factor(tuple(axes[place] for place in order), mask.transpose(order))


def _add(products: list[Product], product: Product) -> None:
    """Put a product into a union, joined with one that differs in one factor, if there is one."""
    for position, other in enumerate(products):
        if [factor.axes for factor in other] != [factor.axes for factor in product]:
            continue
        pairs = list(zip(product, other, strict=True))
        more = [bool((new.mask & ~old.mask).any()) for new, old in pairs]
        less = [bool((old.mask & ~new.mask).any()) for new, old in pairs]
        if not any(more):
            return
        if any(less) and sum(a or b for a, b in zip(more, less, strict=True)) > 1:
            continue
        del products[position]
        joined = tuple(Factor(new.axes, new.mask | old.mask) for new, old in pairs)
        _add(products, joined if any(less) else product)
        return
    products.append(product)
