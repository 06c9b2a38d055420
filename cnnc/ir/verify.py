"""What every graph satisfies, before and after every pass."""

from collections import Counter
from collections.abc import Container, Iterator

from cnnc.base.source import Span
from cnnc.ir.graph import Constant, Graph, Input, Node, Parameter, is_in_place


class GraphError(Exception):
    """A graph breaks `rule` at `node`: a bug in whatever made it."""

    def __init__(self, rule: str, why: str, node: Node | None = None) -> None:
        self.rule = rule
        self.why = why
        self.node = node
        super().__init__(rule, why, node)

    @property
    def span(self) -> Span | None:
        """Where the source asked for the node."""
        return self.node.span if self.node else None

    def __str__(self) -> str:
        node = f" at {self.node.name}" if self.node else ""
        place = f" ({self.span})" if self.span else ""
        return f"rule `{self.rule}` is broken{node}{place}: {self.why}"


def verify(graph: Graph, sound: Container[Node] = ()) -> None:
    """Check every rule; raises GraphError at the first that is broken.

    Rules: acyclic, batch, inputs, outputs, leaf, names, constant, layout, type, view. Nodes that
    are `sound` were part of a graph that was checked: what is about a node and its operands alone
    is not checked again, as neither ever changes.
    """
    _verify_acyclic(graph)
    _verify_ends(graph)
    _verify_names(graph)
    for node in graph.nodes:
        if node in sound:
            continue
        if node.is_leaf:
            _verify_leaf(node)
        _verify_layout(node)
        if not node.is_leaf:
            _verify_type(node)
    _verify_views(graph)


def _verify_acyclic(graph: Graph) -> None:
    """Walks on its own: `Graph.nodes` does not return on a cycle."""
    done: set[Node] = set()
    for output in graph.outputs.values():
        path: dict[Node, Iterator[Node]] = {output: iter(output.inputs)}
        while path:
            node, rest = next(reversed(path.items()))
            following = next((operand for operand in rest if operand not in done), None)
            if following is None:
                path.popitem()
                done.add(node)
            elif following in path:
                raise GraphError(
                    "acyclic", f"the value depends on itself through {node.name}", node
                )
            else:
                path[following] = iter(following.inputs)


def _verify_ends(graph: Graph) -> None:
    if graph.batch < 1:
        raise GraphError("batch", f"the batch is {graph.batch}")
    if graph.fewest is not None and not 1 <= graph.fewest < graph.batch:
        raise GraphError("batch", f"the batch is {graph.fewest}..{graph.batch}")
    if graph.fewest is not None or graph.is_apart:
        _verify_samples(graph)
    for node in graph.inputs:
        if not isinstance(node.op, Input):
            raise GraphError("inputs", f"{node.op.label} is listed as an input", node)
        if not node.type.rank or node.type.shape[0] % _together(graph):
            raise GraphError("batch", f"{node.type} does not carry {graph.batch} samples", node)
    listed = set(graph.inputs)
    if len(listed) != len(graph.inputs):
        raise GraphError("inputs", "an input is listed twice")
    for node in graph.nodes:
        if isinstance(node.op, Input) and node not in listed:
            raise GraphError("inputs", "the input is not listed", node)
    if not graph.outputs:
        raise GraphError("outputs", "there are none")


def _together(graph: Graph) -> int:
    """How many samples a tensor holds."""
    return 1 if graph.is_apart else graph.batch


def _verify_samples(graph: Graph) -> None:
    """A batch of any size, or taken apart, needs a leading axis of samples everywhere."""
    fed: set[Node] = set()
    for node in graph.nodes:
        if isinstance(node.op, Input) or any(operand in fed for operand in node.inputs):
            fed.add(node)
            if node.type.shape[:1] != (_together(graph),):
                raise GraphError("batch", f"{node.type} has no axis of samples", node)


def _verify_names(graph: Graph) -> None:
    counts = Counter(node.name for node in graph.nodes)
    for node in graph.nodes:
        if counts[node.name] > 1:
            raise GraphError("names", f"{counts[node.name]} nodes have this name", node)
        if node.name.split() != [node.name]:
            raise GraphError("names", f"{node.name!r} is no name", node)


def _verify_leaf(node: Node) -> None:
    if node.inputs:
        raise GraphError("leaf", f"{node.op.label} has operands", node)
    match node.op:
        case Input(name) | Parameter(name) if name != node.name:
            raise GraphError("names", f"the {node.op.label} is called {name}", node)
        case Constant(source) if source.shape != node.type.shape:
            found = list(source.shape)
            raise GraphError("constant", f"the value has shape {found}, the type {node.type}", node)
        case Constant(source) if source.dtype != node.type.dtype.numpy:
            raise GraphError("constant", f"the value is {source.dtype}, the type {node.type}", node)


def _verify_layout(node: Node) -> None:
    rank, layout = node.type.rank, node.type.layout
    axes = [axis for axis, _ in layout.blocks]
    if sorted(layout.order) != list(range(rank)) or not all(axis in range(rank) for axis in axes):
        raise GraphError("layout", f"{layout} does not order {rank} axes", node)
    if layout.halo and len(layout.halo) != rank:
        raise GraphError("layout", f"{layout} has a halo for {len(layout.halo)} axes", node)
    if layout.within and (rank < 2 or layout.within < node.type.channels):
        raise GraphError("layout", f"{node.type} is no part of {layout.within} channels", node)
    if min(node.type.shape, default=1) < 1:
        raise GraphError("type", f"{node.type} has no elements", node)


def _verify_type(node: Node) -> None:
    try:
        expected = node.op.infer(*(operand.type for operand in node.inputs))
    except Exception as error:  # whatever an operator trips over, its operands are wrong
        raise GraphError("type", f"{node.op.label} refuses its operands: {error}", node) from error
    if (expected.shape, expected.dtype) != (node.type.shape, node.type.dtype):
        raise GraphError("type", f"{node.op.label} gives {expected}, not {node.type}", node)


def _verify_views(graph: Graph) -> None:
    """Who shares memory with whom: no one lies in two places, ends of the network lie alone."""
    joined: set[Node] = set()
    for node in graph.nodes:
        if not is_in_place(node.op):
            continue
        fault = node.op.find_fault(node.type, *(operand.type for operand in node.inputs))
        if fault:
            raise GraphError("view", fault, node)
        for each in (node, *node.inputs):
            if each.is_leaf or each in graph.output_nodes:
                raise GraphError("view", f"{each.name} lies outside the arena", node)
        if not node.op.joins:
            continue
        for operand in node.inputs:
            elsewhere = is_in_place(operand.op) and not operand.op.joins
            if operand in joined or elsewhere:
                raise GraphError("view", f"{operand.name} lies elsewhere already", node)
            joined.add(operand)
    for node in graph.nodes:
        alone = node not in joined and not is_in_place(node.op)
        if node.type.layout.within and alone:
            raise GraphError("view", f"{node.type} is a part of nothing", node)
