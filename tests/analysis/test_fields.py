"""Receptive fields: published figures, lines against what is really seen, and refusals."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings

import cnnc
from cnnc.analysis.analysis import Wishes, analyze_graph
from cnnc.analysis.dependence import Dependences
from cnnc.analysis.fields import Field
from cnnc.analysis.geometry import input_lines
from cnnc.analysis.network import Reach
from cnnc.analysis.region import Region
from cnnc.base.errors import UserError
from cnnc.ir.graph import Graph
from tests.ir.random_graphs import graphs

BLOCKS = """cnn 1
block vgg(channels, count) { repeat(count) { conv(channels, 3, pad = 1) } -> pool(max, 2) }
block unit(channels, stride = 1) {
  add { conv(channels, 1) -> conv(channels, 3, stride = stride, pad = 1) -> conv(4 * channels, 1)
      | if (stride > 1) { pool(max, 1, stride = stride) } else { conv(4 * channels, 1) } }
}
block stage(channels, count, stride) {
  repeat(count - 1) { unit(channels) } -> if (stride > 1) { conv(4 * channels, 1) }
  -> unit(channels, stride)
}
block separable(channels, stride) {
  conv(in.channels, 3, stride = stride, pad = same, groups = in.channels) -> conv(channels, 1)
}
"""
PUBLISHED = {
    "alexnet_v2": (
        195,
        32,
        64,
        """conv(4, 11, stride = 4) -> pool(max, 3, stride = 2) -> conv(4, 5, pad = 2)
        -> pool(max, 3, stride = 2) -> repeat(3) { conv(4, 3, pad = 1) }
        -> pool(max, 3, stride = 2)""",
    ),
    "vgg_16": (
        212,
        32,
        90,
        "vgg(1, 2) -> vgg(1, 2) -> vgg(1, 3) -> vgg(1, 3) -> vgg(1, 3)",
    ),
    "mobilenet_v1": (
        315,
        32,
        126,
        """conv(2, 3, stride = 2, pad = same)
        -> repeat(s in [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]) { separable(2, s) }""",
    ),
    "resnet_v1_50": (
        483,
        32,
        239,
        """conv(1, 7, stride = 2, pad = 3) -> pool(max, 3, stride = 2, pad = same)
        -> stage(1, 3, 2) -> stage(1, 4, 2) -> stage(1, 6, 2) -> stage(1, 3, 1)""",
    ),
}
"""Size, stride and padding before the input, from A. Araujo, W. Norris, J. Sim, "Computing
Receptive Fields of Convolutional Neural Networks", Distill, 2019 (doi 10.23915/distill.00021)."""


def field_of(text: str, **wishes: object) -> Field:
    """The receptive field of output y."""
    graph = cnnc.load_text(text, weights=False).graph
    chosen = Wishes(layers=("y",), measure=False, **wishes)  # type: ignore[arg-type]
    (field,) = analyze_graph(graph, chosen).fields
    return field


def net(body: str, shape: str = "N, 2, 16, 16") -> str:
    """A file with one net."""
    return (
        f"{BLOCKS}net n {{\n  input x: f32[{shape}]\n  output y = x -> {body}\n  weights he\n}}\n"
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name: str) -> None:
    """Of networks with the windows of well known ones and few channels."""
    size, stride, padding, body = PUBLISHED[name]
    for axis in field_of(net(body, "N, 1, 224, 224")).axes:
        assert (axis.size, axis.stride, axis.start) == (size, stride, -padding)


@pytest.mark.parametrize(
    ("body", "size", "stride", "start", "seen", "filled"),
    [
        ("conv(1, 3)", 3, 1, 0, (7, 9), 1.0),
        ("conv(1, 3, dilation = 4, pad = same)", 9, 1, -4, (4, 12), (3 / 9) ** 2),
        ("conv(1, 3, stride = 2) -> conv_transpose(1, 2, stride = 2)", 3, 1, 0, (6, 8), 1.0),
        ("slice(axis = [2, 3], begin = 4) -> pool(max, 2)", 2, 2, 4, (10, 11), 1.0),
        ("depth_to_space(1) -> space_to_depth(2)", 2, 2, 0, (8, 9), 1.0),
        ("add { conv(1, 1) | conv(1, 5, pad = same) }", 5, 1, -2, (6, 10), 1.0),
        ("pad(1, mode = wrap) -> conv(1, 3)", 3, 1, -1, (7, 9), 1.0),
        ("resize(mode = linear, scale = 2)", 2, Fraction(1, 2), -1, (7, 8), 1.0),
        ("pool(avg, global)", None, None, None, (0, 15), 1.0),
        ("flatten -> dense(3)", None, None, None, (0, 15), 1.0),
    ],
)
def test_along_an_axis(
    body: str,
    size: int | None,
    stride: Fraction | int | None,
    start: int | None,
    seen: tuple[int, int],
    filled: float,
) -> None:
    """At the centre, the same along both axes."""
    field = field_of(net(body))
    for axis in field.axes:
        assert (axis.size, axis.stride, axis.start) == (size, stride, start)
        assert (axis.first, axis.last) == seen
    assert field.filled == pytest.approx(filled)
    assert field.mask().sum() == pytest.approx(filled * (seen[1] - seen[0] + 1) ** 2)


def test_a_cross_is_no_square() -> None:
    """Branches that see a row and a column see no more than those."""
    field = field_of(net("add { conv(1, [1, 5], pad = same) | conv(1, [5, 1], pad = same) }"))
    assert field.mask().sum() == 9
    assert field.filled == pytest.approx(9 / 25)
    assert [axis.size for axis in field.axes] == [5, 5]


def test_upsampling_has_a_stride_below_one() -> None:
    """Every pixel of the input is seen by several positions."""
    for axis in field_of(net("conv_transpose(1, 4, stride = 2, pad = 1)")).axes:
        assert (axis.size, axis.stride) == (2, Fraction(1, 2))


def test_a_position_may_be_chosen() -> None:
    """At a corner, what lies beyond is not seen."""
    field = field_of(net("conv(1, 3, pad = 1)"), position=(0, 15))
    assert [(axis.first, axis.last) for axis in field.axes] == [(0, 1), (14, 15)]
    assert field.share == pytest.approx(4 / 256)


@pytest.mark.parametrize("position", [(0,), (0, 16), (-1, 0), (0, 0, 0)])
def test_positions_that_are_not_there(position: tuple[int, ...]) -> None:
    """A user's error that names the extents."""
    with pytest.raises(UserError, match="has no position"):
        field_of(net("conv(1, 3, pad = 1)"), position=position)


def test_a_layer_that_is_not_there() -> None:
    """The nearest one is proposed."""
    graph = cnnc.load_text(net("stem: conv(1, 3) -> relu")).graph
    with pytest.raises(UserError, match="did you mean `stem`"):
        analyze_graph(graph, Wishes(layers=("stemm",)))


@settings(max_examples=60)
@given(graphs())
def test_lines_hold_what_is_seen(graph: Graph) -> None:
    """Of random networks: nothing outside the line is seen, from corners and from the centre.

    Padding that repeats or mirrors the input sees other elements instead, at the edges.
    """
    if any(node.op.label.startswith("pad(") for node in graph.nodes):
        return
    dependences = Dependences()
    reach, lines = Reach(graph, dependences), input_lines(graph, dependences)
    for node in (n for n in graph.nodes if n.type.rank > 2 and not n.is_leaf):
        shape = node.type.shape
        for part in (0, 1, 2):
            index = [part * (extent - 1) // 2 for extent in shape]
            box = [slice(None)] * 2 + [slice(i, i + 1) for i in index[2:]]
            seen = reach.seen_by(node, Region.box(shape, box))
            for source, along in lines[node].items():
                for axis, line in along.items():
                    if source in seen and line.axis >= 2:
                        low, high = line.low(index[line.axis]), line.high(index[line.axis])
                        first, last = seen[source].hull(axis)
                        assert low is not None
                        assert high is not None
                        assert low <= first <= last <= high


def test_regions_keep_their_elements() -> None:
    """Unions of boxes against masks, however many there are."""
    random, shape = np.random.default_rng(0), (3, 4, 5)
    region, mask = Region(shape), np.zeros(shape, bool)
    for _ in range(30):
        ends = [sorted(random.integers(0, extent + 1, 2)) for extent in shape]
        box = [slice(low, high + 1) for low, high in ends]
        mask[tuple(box)] = True
        region = region.union(Region.box(shape, box)) if mask[tuple(box)].size else region
        np.testing.assert_array_equal(region.mask(), mask)
        assert region.count == mask.sum()
    assert region.count < prod(shape) + 1
