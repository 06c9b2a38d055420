"""What a network looks like from outside: its ends, and how many samples a call may bring."""

from typing import TYPE_CHECKING

from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.ir.types import TensorType

if TYPE_CHECKING:
    from cnnc.ir.graph import Graph


@record
class End:
    """An input or output: its name, its type, and where the text declares it.

    `channels_last` says that an input's channels are its last axis, as preprocessing declares.
    """

    name: str
    type: TensorType
    span: Span | None = None
    channels_last: bool = False


@record
class Interface:
    """A network's name, batch and ends in declared order.

    `splittable` says that samples are independent, so that any number can run in batches of any
    size. Where `fewest` is given, one run takes any number of samples from it up to `batch`.
    """

    name: str
    batch: int
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    splittable: bool
    fewest: int | None = None

    @staticmethod
    def of(graph: "Graph") -> "Interface":
        """That of a graph."""
        # not above: a network from a file needs no operators
        from cnnc.ops.preprocess import is_channels_last

        return Interface(
            graph.name,
            graph.batch,
            tuple(
                End(node.name, node.type, node.span, is_channels_last(graph, node))
                for node in graph.inputs
            ),
            tuple(End(name, node.type, node.span) for name, node in graph.outputs.items()),
            is_splittable(graph),
            graph.fewest,
        )


def is_splittable(graph: "Graph") -> bool:
    """Whether samples are independent, so that any number can run in batches of any size."""
    from cnnc.ops.spec import Operator

    for node in graph.nodes:
        op = node.op
        if isinstance(op, Operator) and op.mixes_batch(*(each.type for each in node.inputs)):
            return False
    ends = (*graph.inputs, *graph.outputs.values())
    return all(node.type.rank > 0 and node.type.shape[0] == graph.batch for node in ends)
