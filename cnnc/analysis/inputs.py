"""Which axes of an input are spatial: its channels may come first or last."""

from collections.abc import Iterator

from cnnc.base.layout import Shape
from cnnc.ir.graph import Graph, Node
from cnnc.ops.preprocess import is_channels_last


def spatial_axes(graph: Graph, node: Node) -> tuple[int, ...]:
    """The axes of an input's arrays that are neither samples nor channels."""
    first = 1 if is_channels_last(graph, node) else 2
    return tuple(range(first, first + max(0, node.type.rank - 2)))


def spatial_shape(graph: Graph, node: Node) -> Shape:
    """The extents of those axes."""
    return tuple(node.type.shape[axis] for axis in spatial_axes(graph, node))


def extended_axes(graph: Graph) -> Iterator[int]:
    """The spatial axes, counted from 0, along which some input has more than one position."""
    shapes = [spatial_shape(graph, node) for node in graph.inputs]
    for axis in range(max(map(len, shapes), default=0)):
        if any(extent > 1 for shape in shapes for extent in shape[axis : axis + 1]):
            yield axis


def moved_inputs(graph: Graph, axis: int) -> frozenset[Node]:
    """The inputs that move together when one is shifted along a spatial axis.

    Those with the spatial shape of the first that has more than one position along it.
    """
    shapes = {node: spatial_shape(graph, node) for node in graph.inputs}
    having = [s for s in shapes.values() if any(extent > 1 for extent in s[axis : axis + 1])]
    return frozenset(node for node, shape in shapes.items() if having and shape == having[0])
