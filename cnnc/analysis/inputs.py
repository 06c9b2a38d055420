"""Which axes of an input are spatial, and along which inputs can be shifted."""

from collections.abc import Mapping
from dataclasses import dataclass

from cnnc.base.layout import Shape
from cnnc.ir.graph import Graph, Node
from cnnc.loop.build import spatial_letters
from cnnc.ops.preprocess import is_channels_last


def spatial_axes(graph: Graph, node: Node) -> tuple[int, ...]:
    """The axes of an input's arrays that are neither samples nor channels."""
    first = 1 if is_channels_last(graph, node) else 2
    return tuple(range(first, first + max(0, node.type.rank - 2)))


def spatial_shape(graph: Graph, node: Node) -> Shape:
    """The extents of those axes."""
    return tuple(node.type.shape[axis] for axis in spatial_axes(graph, node))


@dataclass(frozen=True, eq=False)
class Direction:
    """A spatial axis along which inputs are shifted: all that have the same spatial extents.

    `axis` counts the spatial axes, `letter` is its name; `axes` says which axis of each input's
    array it is, `extent` how many positions there are.
    """

    axis: int
    letter: str
    axes: Mapping[str, int]
    extent: int


def directions(graph: Graph) -> tuple[Direction, ...]:
    """Every direction in which there is more than one position, inputs of one size together."""
    groups: dict[Shape, list[Node]] = {}
    for node in graph.inputs:
        groups.setdefault(spatial_shape(graph, node), []).append(node)
    found = []
    for shape, nodes in groups.items():
        for axis, extent in enumerate(shape):
            if extent > 1:
                axes = {node.name: spatial_axes(graph, node)[axis] for node in nodes}
                letter = spatial_letters(len(shape))[axis]
                found.append(Direction(axis, letter, axes, extent))
    return tuple(found)
