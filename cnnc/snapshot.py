"""A graph as a flat list, so that pickling a deep network does not recurse."""

from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.ir.graph import Graph, Node, Op
from cnnc.ir.types import TensorType


@record
class _Entry:
    """A node whose operands are positions of earlier entries."""

    op: Op
    inputs: tuple[int, ...]
    type: TensorType
    name: str
    span: Span | None


@record
class Snapshot:
    """See `take` and `restore`."""

    name: str
    batch: int
    fewest: int | None
    entries: tuple[_Entry, ...]
    inputs: tuple[int, ...]
    outputs: tuple[tuple[str, int], ...]

    @staticmethod
    def take(graph: Graph) -> "Snapshot":
        """The graph as plain data."""
        number = {node: position for position, node in enumerate(graph.nodes)}
        entries = tuple(
            _Entry(node.op, tuple(number[n] for n in node.inputs), node.type, node.name, node.span)
            for node in graph.nodes
        )
        inputs = tuple(number[node] for node in graph.inputs)
        outputs = tuple((name, number[node]) for name, node in graph.outputs.items())
        return Snapshot(graph.name, graph.batch, graph.fewest, entries, inputs, outputs)

    def restore(self) -> Graph:
        """The graph again, of new nodes."""
        nodes: list[Node] = []
        for each in self.entries:
            operands = tuple(nodes[position] for position in each.inputs)
            nodes.append(Node(each.op, operands, each.type, each.name, each.span))
        inputs = tuple(nodes[position] for position in self.inputs)
        outputs = {name: nodes[position] for name, position in self.outputs}
        return Graph(self.name, inputs, outputs, self.batch, self.fewest)
