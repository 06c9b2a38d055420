"""Receptive fields as straight lines: size, stride and start, as if inputs had no edges."""

from collections.abc import Mapping

from cnnc.analysis.dependence import Dependence, Dependences, operand_name
from cnnc.analysis.lines import Line, follow
from cnnc.ir.graph import Graph, Node

Lines = Mapping[int, Line]
"""By axis of what is read: the line along which results read it."""


def input_lines(graph: Graph, dependences: Dependences) -> dict[Node, dict[Node, Lines]]:
    """For every node and every input it depends on, the lines along the input's spatial axes.

    An axis is left out where results do not follow it: after flatten, or a global pool.
    """
    known: dict[Node, dict[Node, Lines]] = {}
    for node in graph.nodes:
        if node.is_leaf:
            spatial = range(2, node.type.rank)
            own = {axis: Line.identity(axis) for axis in spatial}
            known[node] = {node: own} if node in graph.inputs else {}
            continue
        known[node] = _through(node, dependences.of(node), known)
    return known


def _through(
    node: Node, dependence: Dependence, known: Mapping[Node, Mapping[Node, Lines]]
) -> dict[Node, Lines]:
    found: dict[Node, list[Lines]] = {}
    for place, operand in enumerate(node.inputs):
        for source, lines in known[operand].items():
            own = _operator_lines(dependence, place, {line.axis for line in lines.values()})
            passed = {
                axis: own[line.axis].through(line)
                for axis, line in lines.items()
                if line.axis in own
            }
            found.setdefault(source, []).append(passed)
    return {source: _joined(several) for source, several in found.items()}


def _operator_lines(dependence: Dependence, place: int, axes: set[int]) -> dict[int, Line]:
    """The lines along axes of one operand that all loads of it agree on."""
    made: dict[int, Line] = {}
    for axis in axes:
        loads = [
            follow(write, access, axis)
            for write in dependence.writes
            for access in write.reads
            if access.buffer == operand_name(place)
        ]
        line = loads[0] if loads and dependence.is_exact else None
        for other in loads[1:]:
            line = line.hull(other) if line and other else None
        if line is not None and dependence.out.shape[line.axis] > 1:
            made[axis] = line
    return made


def _joined(several: list[Lines]) -> Lines:
    """What the operands' ways to one input have in common."""
    first, *others = several
    joined = dict(first)
    for lines in others:
        for axis in list(joined):
            other = lines.get(axis)
            line = joined[axis].hull(other) if other else None
            if line is None:
                del joined[axis]
            else:
                joined[axis] = line
    return joined
