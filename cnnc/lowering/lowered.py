"""What lowering makes of a graph."""

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import Graph, Node
from cnnc.loop.kernel import Kernel, Program


@record
class Layer:
    """One step of the program and where it comes from.

    `operands` are the nodes behind the kernel's parameters, in their order; the last one is `node`
    itself, the result. `kernel` is scheduled and indexes logically, its parameters' layouts say
    how each operand lies in memory; `step` is the position in the program's steps, whose kernel
    is the flat form of `kernel`.
    """

    node: Node
    operands: tuple[Node, ...]
    kernel: Kernel
    step: int


@record
class Lowered:
    """A program, the graph it computes, and its layers in the order they run."""

    graph: Graph
    program: Program
    layers: tuple[Layer, ...]

    def shape_of(self, node: Node) -> Shape:
        """The shape of a node's tensor for all samples of a run."""
        shape = node.type.shape
        return (self.graph.batch, *shape[1:]) if self.graph.is_apart else shape
