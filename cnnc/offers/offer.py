"""What an algorithm offers for a layer."""

from collections.abc import Iterator
from typing import Protocol

from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.ir.graph import Graph, Node
from cnnc.ops.fused import Fused
from cnnc.ops.spec import Operator


@record
class Candidate:
    """A choice for a layer, and the cycles of one thread it is estimated to take."""

    choice: Choice
    cycles: float


class Offer(Protocol):
    """An algorithm. `name` is the first word of its choices.

    One that `rounds_more` than the operator's own sums is left out where these are asked for.
    """

    name: str
    rounds_more: bool

    def candidates(self, node: Node, target: Target, *, far: bool) -> Iterator[Candidate]:
        """Forms worth measuring for a layer whose layouts are assigned; none if it does not suit.

        The estimate alone need not be allowed to choose all of them. `far` says that the net's
        weights come from memory, which a layer alone does not show.
        """
        ...


def root_of(node: Node) -> tuple[Operator, tuple[Node, ...]]:
    """The operator that does the work, without what is fused to it, and its operands."""
    op = node.op
    root, arity = (op.root, op.root_arity) if isinstance(op, Fused) else (op, len(node.inputs))
    assert isinstance(root, Operator)
    return root, node.inputs[:arity]


def key_of(node: Node, choices: Choices) -> str:
    """The key of a layer. It has the same one before and after fusing and layouts."""
    return choices.key(*_identity(node))


def chosen_for(node: Node, choices: Choices) -> Chosen | None:
    """What was chosen for a layer, or None."""
    return choices.find(*_identity(node)) if choices.entries else None


def keys_chosen(graph: Graph, choices: Choices) -> Iterator[str]:
    """The keys of the graph's layers for which something was chosen."""
    layers = (node for node in graph.nodes if not node.is_leaf)
    return (key for key in (key_of(node, choices) for node in layers) if key in choices.entries)


def _identity(node: Node) -> tuple[str, list[str]]:
    root, operands = root_of(node)
    kinds = (operand.type for operand in operands)
    return root.label, [f"{kind.dtype}[{', '.join(map(str, kind.shape))}]" for kind in kinds]
