"""Receptive fields as straight lines: size, stride and start, as if inputs had no edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from cnnc.analysis.dependence import Dependence, Dependences, operand_name
from cnnc.analysis.inputs import spatial_axes
from cnnc.analysis.lines import Line, follow
from cnnc.analysis.motion import stored
from cnnc.ir.graph import Graph, Node
from cnnc.loop.accesses import Access, Write

Lines = Mapping[int, Line]
"""By axis of what is read: the line along which results read it."""


def input_lines(graph: Graph, dependences: Dependences) -> dict[Node, dict[Node, Lines]]:
    """For every node and every input it depends on, the lines along the input's spatial axes.

    An axis is left out where results do not follow it: after flatten, or a global pool.
    """
    known: dict[Node, dict[Node, Lines]] = {}
    for node in graph.nodes:
        if node.is_leaf:
            known[node] = {}
            if node in graph.inputs:
                axes = spatial_axes(graph, node)
                known[node] = {node: {axis: Line.identity(axis) for axis in axes}}
            continue
        known[node] = _through(node, dependences.of(node), known)
    return known


@dataclass(frozen=True, slots=True)
class _Found:
    """A line, and the share that the store behind it fills of the positions the line speaks of."""

    line: Line
    share: Fraction

    def hull(self, other: "_Found") -> "_Found | None":
        """Both together.

        Where stores fill different parts and follow different lines, one that fills more than
        half is the rule, and the other an edge.
        """
        if self.line == other.line:
            return _Found(self.line, max(self.share, other.share))
        if self.share == other.share == 1:
            line = self.line.hull(other.line)
            return _Found(line, self.share) if line else None
        first, second = sorted((self, other), key=lambda found: found.share)
        return second if second.share > Fraction(1, 2) > first.share else None


def _through(
    node: Node, dependence: Dependence, known: Mapping[Node, Mapping[Node, Lines]]
) -> dict[Node, Lines]:
    found: dict[Node, list[dict[int, _Found]]] = {}
    for place, operand in enumerate(node.inputs):
        for source, lines in known[operand].items():
            own = _operator_lines(dependence, place, {line.axis for line in lines.values()})
            passed: dict[int, _Found] = {}
            for axis, line in lines.items():
                outer = own.get(line.axis)
                both = outer.line.through(line) if outer else None
                if outer and both:
                    passed[axis] = _Found(both, outer.share)
            found.setdefault(source, []).append(passed)
    return {source: _joined(several) for source, several in found.items()}


def _operator_lines(dependence: Dependence, place: int, axes: set[int]) -> dict[int, _Found]:
    """The lines along axes of one operand that all loads of it agree on."""
    made: dict[int, _Found] = {}
    for axis in axes if dependence.is_exact else ():
        found = [
            _follow(dependence, write, access, axis)
            for write in dependence.writes
            for access in write.reads
            if access.buffer == operand_name(place)
        ]
        # What fills but a part of the result in an order of its own is an edge.
        kept = [each for each in found if each is not _EDGE]
        joined = kept[0] if kept else None
        for other in kept[1:]:
            joined = joined.hull(other) if joined and other else None
        if joined and joined.line.is_complete and dependence.out.shape[joined.line.axis] > 1:
            made[axis] = joined
    return made


_EDGE = _Found(Line.identity(-1), Fraction(0))


def _follow(dependence: Dependence, write: Write, access: Access, axis: int) -> _Found | None:
    filled = stored(write, dependence.out.shape, {})
    line = follow(write, access, axis)
    if line is None:
        return None if filled.count == dependence.out.elements else _EDGE
    along = filled.along(line.axis)
    own = [bool(along[o]) for o in range(len(along)) if line.low(o) is not None]
    return _Found(line, Fraction(sum(own), max(1, len(own))))


def _joined(several: list[dict[int, _Found]]) -> Lines:
    """What the operands' ways to one input have in common."""
    first, *others = several
    joined: dict[int, _Found | None] = {**first}
    for lines in others:
        for axis, found in joined.items():
            other = lines.get(axis)
            joined[axis] = found.hull(other) if found and other else None
    return {axis: found.line for axis, found in joined.items() if found}
