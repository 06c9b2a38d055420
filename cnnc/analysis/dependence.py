"""What each operator reads: its loops, asked once for every operator and types of operands."""

from dataclasses import dataclass, field
from functools import cached_property

from cnnc.analysis.relation import Term, TooLargeError, everything, read_term
from cnnc.analysis.union import count_pairs, unite
from cnnc.base.layout import Layout
from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType
from cnnc.loop.accesses import Write, writes
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.spec import Operator

RESULT = "y"


@dataclass(frozen=True)
class Dependence:
    """What one operator on operands of these types reads.

    `out` and `inputs` are the types; operands are counted as the node has them, parameters last.
    """

    out: TensorType
    inputs: tuple[TensorType, ...]
    writes: tuple[Write, ...]

    @cached_property
    def operands(self) -> tuple[tuple[Term, ...], ...]:
        """For each operand, the union of these terms: which result reads which element.

        Where the loops read in no way that can be listed, every result reads every element.
        """
        return tuple(
            (everything(self.out.shape, kind.shape),) if isinstance(terms, str) else terms
            for kind, terms in zip(self.inputs, self._listed, strict=True)
        )

    @property
    def is_exact(self) -> bool:
        """Whether the relations are exact; otherwise they hold more pairs than there are."""
        return not any(isinstance(terms, str) for terms in self._listed)

    def pairs(self, place: int) -> int:
        """How many pairs (element of the result, element of the operand) depend on each other."""
        try:
            return count_pairs(self.operands[place])
        except TooLargeError:
            return self.out.elements * self.inputs[place].elements

    @cached_property
    def _listed(self) -> tuple[tuple[Term, ...] | str, ...]:
        return tuple(self._list(place) for place in range(len(self.inputs)))

    def _list(self, place: int) -> tuple[Term, ...] | str:
        """The terms, or why they cannot be listed."""
        found = []
        for write in self.writes:
            for access in write.reads:
                if access.buffer == RESULT:
                    return "the loops read what they have written"
                if access.buffer != operand_name(place):
                    continue
                try:
                    term = read_term(write, access, self.out.shape, self.inputs[place].shape)
                except TooLargeError:
                    return "too many combinations of indices"
                except TypeError:
                    return "an index depends on a value"
                if term is not None:
                    found.append(term)
        return unite(found)


@dataclass
class Dependences:
    """The dependence of every node of a graph, found when asked for and shared by equal layers."""

    _known: dict[tuple[Operator, tuple[TensorType, ...]], Dependence] = field(default_factory=dict)
    _of_node: dict[Node, Dependence] = field(default_factory=dict)

    def of(self, node: Node) -> Dependence:
        """The dependence of a node that is no leaf."""
        if node not in self._of_node:
            self._of_node[node] = self._find(node)
        return self._of_node[node]

    def _find(self, node: Node) -> Dependence:
        op = node.op
        assert isinstance(op, Operator)
        inputs = tuple(_plain(operand.type) for operand in node.inputs)
        key = (op, inputs)
        if key not in self._known:
            self._known[key] = Dependence(_plain(node.type), inputs, _writes(op, node))
        return self._known[key]


def operand_name(place: int) -> str:
    """What an operand is called in the loops."""
    return f"x{place}"


def _plain(type: TensorType) -> TensorType:
    return type.with_layout(Layout.plain(type.rank))


def _writes(op: Operator, node: Node) -> tuple[Write, ...]:
    kinds = [_plain(operand.type) for operand in node.inputs]
    params = [
        Buffer(operand_name(place), kind.shape, kind.dtype, kind.layout)
        for place, kind in enumerate(kinds)
    ]
    out = Buffer(RESULT, node.type.shape, node.type.dtype, _plain(node.type).layout)
    build = KernelBuilder(out, *params)
    op.define(build, *params)
    return writes(build.body)
