"""Tensors whose axes stand in another order than the value that is computed."""

from collections.abc import Sequence
from math import prod

from cnnc.base.layout import Shape
from cnnc.base.record import record

Axes = tuple[int | None, ...]


@record
class View:
    """A tensor of the net as it was, as a reading of `base`, a value of the net as it becomes.

    Axis i of the tensor is axis `axes[i]` of the base, or of extent 1 where that is None. Axes of
    the base that are not listed have extent 1.
    """

    base: str
    axes: Axes

    @property
    def is_plain(self) -> bool:
        """Whether the axes are those of the base; there may be more of these."""
        return self.axes == (*range(len(self.axes)),)

    @property
    def rank(self) -> int:
        """Axes of the tensor."""
        return len(self.axes)


def plain(base: str, rank: int) -> View:
    """The value itself."""
    return View(base, (*range(rank),))


def extents(axes: Axes, base: Shape) -> Shape:
    """The shape of the tensor."""
    return tuple(1 if axis is None else base[axis] for axis in axes)


def moves(axes: Axes, base: Shape) -> bool:
    """Whether elements change places: otherwise the tensor is the base under another shape."""
    kept = [axis for axis in axes if axis is not None and (base[axis] > 1 or axis == 0)]
    return kept != sorted(kept)


def under(tensor: Axes, axes: Axes) -> Axes | None:
    """`tensor` as a reading from which a tensor with these axes has the given ones.

    With axes (0, 2, 3, 1), a tensor of NHWC is asked for as NCHW. None where an axis that the other
    does not have is no axis of extent 1; whoever asks knows the extents of those.
    """
    places = {axis: place for place, axis in enumerate(axes) if axis is not None}
    if sorted(places) != [*range(len(places))] or len(tensor) != len(axes):
        return None
    return tuple(tensor[places[axis]] for axis in range(len(places)))


def embed(axes: Axes, base: Shape, target: Shape) -> Axes | None:
    """The axes after a reshape that only adds axes of extent 1, or takes those that are None."""
    rest = [axis for axis in axes if axis is not None]
    found: list[int | None] = []
    for extent in target:
        if rest and base[rest[0]] == extent:
            found.append(rest.pop(0))
        elif extent == 1:
            found.append(None)
        else:
            return None
    return None if rest else tuple(found)


def regroup(axes: Axes, base: Shape, target: Shape) -> tuple[Shape, Axes] | None:
    """A reshape of the tensor as one of the base: its new shape, and the axes that then stand.

    It is one where axes that are split or joined stand beside each other in the base, too. The
    batch stays alone.
    """
    if axes[0] != 0 or not target or target[0] != base[0]:
        return None
    blocks = _blocks([axis for axis in axes[1:] if axis is not None and base[axis] > 1],
                     base, target)  # fmt: skip
    if blocks is None:
        return None
    order = [axis for axis in range(1, len(base)) if base[axis] > 1]
    for own, _ in blocks:
        start = order.index(own[0])
        if order[start : start + len(own)] != own:
            return None
    shape, places = [base[0]], dict[int, int]()
    for _, parts in sorted(blocks, key=lambda each: each[0][0]):
        for part in parts:
            places[part] = len(shape)
            shape.append(target[part])
    made = (0, *(places.get(place) for place in range(1, len(target))))
    return tuple(shape), made


def _blocks(
    own: Sequence[int], base: Shape, target: Shape
) -> list[tuple[list[int], list[int]]] | None:
    """Axes of the base and of the target that hold the same elements, none of extent 1."""
    rest = [place for place in range(1, len(target)) if target[place] > 1]
    left = [*own]
    blocks: list[tuple[list[int], list[int]]] = []
    while left and rest:
        one, two = [left.pop(0)], [rest.pop(0)]
        while (have := prod(base[a] for a in one)) != (want := prod(target[p] for p in two)):
            if have < want and left:
                one.append(left.pop(0))
            elif have > want and rest:
                two.append(rest.pop(0))
            else:
                return None
        blocks.append((one, two))
    return None if left or rest else blocks
