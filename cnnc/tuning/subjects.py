"""The layers of a net that something can be chosen for, each once and alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from cnnc import driver
from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.base.target import Target
from cnnc.ir.graph import Graph, Input, Node
from cnnc.listing import operator_text
from cnnc.offers.direct import DIRECT
from cnnc.offers.offer import Candidate, key_of, root_of
from cnnc.offers.registry import OFFERS, default_choice
from cnnc.offers.rows import ROWS, lies_in_rows
from cnnc.offers.winograd import are_transformed_far
from cnnc.ops.fused import Earlier, Fused
from cnnc.ops.strassen import Strassen
from cnnc.ops.streamed import Streamed
from cnnc.ops.winograd import Winograd

STREAM_ROWS = "stream-rows"
TAKE_APART = "take-apart"
BEFORE_WINOGRAD = "use-subpixel"
OTHER_ALGORITHMS = ("use-winograd", "use-strassen")
MAX_BYTES = 1 << 28
"""Layers with larger operands wait for memory whatever is chosen, and copies of them fill it."""


@dataclass(frozen=True)
class Subject:
    """A layer alone, and what may be chosen for it.

    `graph` computes it from plain operands; in the net `names` have the same `key`. `default` is
    what the estimate chooses, `candidates` are all that is worth measuring, best by estimate first,
    those of the algorithms in turn.
    """

    key: str
    names: tuple[str, ...]
    op: str
    graph: Graph
    default: Choice
    candidates: tuple[Candidate, ...]

    @property
    def name(self) -> str:
        """The first layer's name."""
        return self.names[0]

    @property
    def cycles(self) -> float:
        """Estimated cycles of all layers with this key by default."""
        return len(self.names) * self.estimate(self.default)

    def estimate(self, choice: Choice) -> float:
        """Estimated cycles of a choice; 0 for one that is not offered."""
        return next((each.cycles for each in self.candidates if each.choice == choice), 0.0)


def find_subjects(graph: Graph, target: Target, choices: Choices, *, exact: bool) -> list[Subject]:
    """The layers of a net for which there are several choices, those that take longest first.

    Not those that are computed some rows at a time with their neighbours: alone they do other work.
    Nor equal ones of which some lie in rows and others in blocks, as a choice would be for all.
    """
    found: dict[str, list[Node]] = {}
    stages = _stages(graph, target, exact=exact)
    far = are_transformed_far(stages[BEFORE_WINOGRAD], target)
    separate = _computed_alone(graph, target, exact=exact)
    for node in stages["fuse"].nodes:
        if not node.is_leaf and _bytes(node) <= MAX_BYTES and node.name in separate:
            found.setdefault(key_of(node, choices), []).append(node)
    subjects = []
    for key, nodes in found.items():
        most = max(nodes, key=lambda node: sum(_form(node) == _form(other) for other in nodes))
        names = (most.name, *(node.name for node in nodes if node is not most))
        in_rows, *others = {lies_in_rows(separate[name], target) for name in names}
        if others:
            continue
        alone = _alone(most)
        kept = _keeping(key, choices.facts, in_rows=in_rows)
        laid = laid_out(alone, target, exact=True, choices=kept)
        candidates = _candidates(laid, target, exact=exact or in_rows, far=far)
        if len(candidates) > 1:
            default = default_choice(laid, target)
            if not (exact or in_rows):
                default = _other(alone, target, far=far) or default
            op = operator_text(root_of(most)[0])
            subjects.append(Subject(key, names, op, alone, default, candidates))
    return sorted(subjects, key=lambda subject: -subject.cycles)


def laid_out(
    graph: Graph,
    target: Target,
    *,
    exact: bool = False,
    choices: Choices | None = None,
    far: bool | None = None,
) -> Node:
    """The layer of a graph with one layer, after all passes but that which joins it to others.

    `far` is said of its net.
    """
    passes = driver.pipeline(target, exact=exact, choices=choices or Choices(), far=far)
    alone = [each for each in passes if each.name not in (STREAM_ROWS, TAKE_APART)]
    nodes = driver.optimise(graph, alone).nodes
    name = next(node.name for node in graph.nodes if not node.is_leaf)
    return next(node for node in nodes if node.name == name)


def _stages(graph: Graph, target: Target, *, exact: bool) -> dict[str, Graph]:
    """The net after each pass but that which uses another algorithm than the operators' own."""
    graphs: dict[str, Graph] = {}
    passes = driver.pipeline(target, exact=exact)
    own = [each for each in passes if each.name not in OTHER_ALGORITHMS]
    driver.optimise(graph, own, graphs.__setitem__)
    return graphs


def _computed_alone(graph: Graph, target: Target, *, exact: bool) -> dict[str, Node]:
    """The layers that no other one is joined to, by name."""
    nodes = driver.optimise(graph, driver.pipeline(target, exact=exact)).nodes
    return {node.name: node for node in nodes if not isinstance(node.op, Streamed)}


def _keeping(key: str, facts: str, *, in_rows: bool) -> Choices:
    """Choices that lay out a layer alone as its net does: neighbours decide about rows there."""
    return Choices({key: Chosen(Choice(ROWS if in_rows else DIRECT))}, facts)


def _bytes(node: Node) -> int:
    return max(each.type.bytes for each in (node, *node.inputs))


def _form(node: Node) -> object:
    return node.op.label, tuple(operand.type for operand in node.inputs)


def _alone(node: Node) -> Graph:
    """A net of this layer: what it reads are inputs, and what is fused to it stands behind it."""
    given: dict[Node, Node] = {}
    for operand in node.inputs:
        if not operand.is_constant:
            given[operand] = Node(Input(operand.name), (), operand.type, operand.name)
    operands = [given.get(operand, operand) for operand in node.inputs]
    root, own = root_of(node)
    kind = root.infer(*(operand.type for operand in own))
    values = [Node(root, tuple(operands[: len(own)]), kind, node.name, node.span)]
    for step in node.op.tail if isinstance(node.op, Fused) else ():
        arguments = tuple(
            values[each.step] if isinstance(each, Earlier) else operands[len(own) + each.operand]
            for each in step.args
        )
        kind = step.op.infer(*(argument.type for argument in arguments))
        values.append(Node(step.op, arguments, kind, f"{node.name}~{len(values)}"))
    return Graph("layer", tuple(given.values()), {"y": values[-1]})


def _candidates(node: Node, target: Target, *, exact: bool, far: bool) -> tuple[Candidate, ...]:
    """What all algorithms offer, the best of each first, then the second best, and so on."""
    offers = [each for each in OFFERS if not (exact and each.rounds_more)]
    lists = [
        sorted(each.candidates(node, target, far=far), key=lambda one: one.cycles)
        for each in offers
    ]
    in_turn: Iterator[Candidate | None] = chain.from_iterable(zip_longest(*lists))
    return tuple(each for each in in_turn if each)


def _other(graph: Graph, target: Target, *, far: bool) -> Choice | None:
    """Another algorithm, in the form that the estimate chooses for a layer in its net, if any."""
    node = laid_out(graph, target, far=far)
    is_other = isinstance(root_of(node)[0], Winograd | Strassen)
    return default_choice(node, target) if is_other else None


def single(node: Node) -> Graph:
    """A graph of one kernel: the operands of a layer are inputs that lie as it reads them."""
    given = {
        operand: replace(operand, op=Input(operand.name), inputs=())
        for operand in node.inputs
        if not operand.is_constant
    }
    layer = replace(node, inputs=tuple(given.get(each, each) for each in node.inputs))
    return Graph("layer", tuple(given.values()), {"y": layer})
