"""Receptive fields of layers: what one position sees of an input."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from cnnc.analysis.geometry import input_lines
from cnnc.analysis.inputs import spatial_axes
from cnnc.analysis.lines import Line
from cnnc.analysis.network import Reach
from cnnc.analysis.region import Mask, Region
from cnnc.base.errors import fail
from cnnc.base.layout import Shape
from cnnc.base.report import Json
from cnnc.ir.graph import Graph, Node


@dataclass(frozen=True, slots=True)
class AxisField:
    """A receptive field along one spatial axis of an input.

    `size`, `stride` and `start` hold for an input without edges: positions see at most `size`
    pixels, position 0 from `start` on, and `stride` later with every position. They are None where
    the layer does not follow the axis.
    `first` and `last` are what the position really sees, and `seen` how many pixels between them.
    """

    size: int | None
    stride: Fraction | None
    start: int | None
    first: int
    last: int
    seen: int

    def to_json(self) -> dict[str, Json]:
        """The axis as plain data."""
        return {
            "size": self.size,
            "stride": None if self.stride is None else float(self.stride),
            "start": self.start,
            "first": self.first,
            "last": self.last,
            "seen": self.seen,
        }


@dataclass(frozen=True, eq=False)
class Field:
    """What a position of a layer sees of an input.

    `position` counts the layer's spatial axes; all its channels are taken together. `region` holds
    the input's elements that are seen, `axes` describes its spatial axes, which `spatial` names.
    """

    layer: str
    input: str
    position: tuple[int, ...]
    axes: tuple[AxisField, ...]
    spatial: tuple[int, ...]
    region: Region

    @property
    def share(self) -> float:
        """Elements that are seen, of all elements of one sample of the input."""
        return self.region.count / prod(self.region.shape[1:])

    @property
    def filled(self) -> float:
        """Elements that are seen, of all within the smallest box around them."""
        spans = [self.region.hull(axis) for axis in range(len(self.region.shape))]
        return self.region.count / prod(last - first + 1 for first, last in spans)

    def mask(self) -> Mask:
        """Whether a pixel is seen in any channel of any sample: one value per spatial position."""
        others = tuple(axis for axis in range(len(self.region.shape)) if axis not in self.spatial)
        return np.asarray(self.region.mask().any(axis=others))

    def to_json(self) -> dict[str, Json]:
        """The field as plain data."""
        position: list[Json] = [*self.position]
        return {
            "layer": self.layer,
            "input": self.input,
            "position": position,
            "axes": [axis.to_json() for axis in self.axes],
            "elements": self.region.count,
            "share": self.share,
            "filled": self.filled,
        }


def find_fields(
    graph: Graph, reach: Reach, layers: Sequence[Node], position: Sequence[int] | None = None
) -> tuple[Field, ...]:
    """The receptive fields of layers at a position, their centre if it is not given.

    UserError where a layer has no such position.
    """
    lines = input_lines(graph, reach.dependences)
    found = []
    for node in layers:
        where = _centre(node.type.shape) if position is None else _checked(node, position)
        seen = reach.seen_by(node, _at(node.type.shape, where))
        for source in graph.inputs:
            if source in seen:
                spatial, along = spatial_axes(graph, source), lines[node].get(source, {})
                axes = tuple(_axis(seen[source], axis, along.get(axis)) for axis in spatial)
                found.append(Field(node.name, source.name, where, axes, spatial, seen[source]))
    return tuple(found)


def _axis(region: Region, axis: int, line: Line | None) -> AxisField:
    first, last = region.hull(axis)
    seen = int(region.along(axis).sum())
    size = line.size if line else None
    stride, start = (line.slope, line.low(0)) if line else (None, None)
    return AxisField(size, stride, start, first, last, seen)


def _at(shape: Shape, position: Sequence[int]) -> Region:
    """A position of the first sample, with all channels."""
    spatial = [slice(place, place + 1) for place in position]
    return Region.box(shape, [slice(0, 1), slice(None), *spatial][: len(shape)])


def _centre(shape: Shape) -> tuple[int, ...]:
    return tuple(extent // 2 for extent in shape[2:])


def _checked(node: Node, position: Sequence[int]) -> tuple[int, ...]:
    spatial = node.type.spatial
    if len(position) != len(spatial) or any(
        not isinstance(place, int | np.integer) or not 0 <= place < extent
        for place, extent in zip(position, spatial, strict=False)
    ):
        shown = ", ".join(map(str, position))
        raise fail(
            "E0803",
            f"`{node.name}` has no position {shown}",
            node.span,
            help=f"its spatial extents are {list(spatial)}, positions count from 0",
        )
    return tuple(position)
