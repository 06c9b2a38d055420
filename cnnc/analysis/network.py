"""Dependence through a whole network: what an element sees, and what sees an element."""

from collections.abc import Mapping

from cnnc.analysis.dependence import Dependences
from cnnc.analysis.region import Region
from cnnc.ir.graph import Graph, Node


class Reach:
    """Sets of elements carried through a graph, exactly, against its edges or along them."""

    def __init__(self, graph: Graph, dependences: Dependences | None = None) -> None:
        self.graph = graph
        self.dependences = dependences or Dependences()

    def seen_by(self, node: Node, region: Region) -> Mapping[Node, Region]:
        """What these elements of a node's value depend on, of every node before it."""
        pending = {node: region}
        for each in reversed(self.graph.nodes):
            if each not in pending or each.is_leaf:
                continue
            dependence = self.dependences.of(each)
            for place, operand in enumerate(each.inputs):
                read = pending[each].read_by(dependence.operands[place], operand.type.shape)
                if not read.is_empty:
                    known = pending.get(operand)
                    pending[operand] = read if known is None else known.union(read)
        return pending

    def reached_from(self, node: Node, region: Region) -> Mapping[Node, Region]:
        """What depends on these elements of a node's value, of every node behind it."""
        reached = {node: region}
        for each in self.graph.nodes:
            if each is node or each.is_leaf:
                continue
            dependence = self.dependences.of(each)
            for place, operand in enumerate(each.inputs):
                if operand not in reached:
                    continue
                found = reached[operand].readers(dependence.operands[place], each.type.shape)
                if not found.is_empty:
                    known = reached.get(each)
                    reached[each] = found if known is None else known.union(found)
        return reached
