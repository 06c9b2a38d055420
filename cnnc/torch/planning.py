"""Which nodes run together: in nets of cnnc, or in torch."""

import operator
from collections.abc import Mapping, Sequence

from cnnc.base.record import record
from cnnc.torch.capture import Captured, Node


@record
class Segment:
    """Nodes in order that one side runs, what they read from outside, what others read of them."""

    is_net: bool
    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]


def plan(captured: Captured, refused: Mapping[Node, str]) -> list[Segment]:
    """The nodes in segments that run one after the other.

    A node stands as early as the nodes before it let it: segments are numbered, even ones are nets,
    and each node has the least number that its operands allow. So no segment waits for a later one.
    """
    numbers: dict[Node, int] = {}
    for node in captured.calls:
        before = [numbers[each] for each in node.all_input_nodes if each in numbers]
        least = max(before, default=0)
        if node.target is operator.getitem and node.args[0] in numbers:
            numbers[node] = least
        else:
            numbers[node] = least + (least % 2 != int(node in refused))
    wanted = {each for each in captured.outputs if hasattr(each, "op")}
    found: list[Segment] = []
    for number in sorted({*numbers.values()}):
        nodes = [node for node in captured.calls if numbers[node] == number]
        found.append(_segment(captured, nodes, wanted, is_net=number % 2 == 0))
    return found


def _segment(
    captured: Captured, nodes: Sequence[Node], wanted: set[Node], *, is_net: bool
) -> Segment:
    inside = {*nodes}
    read = {each: None for node in nodes for each in node.all_input_nodes}
    inputs = [each for each in read if each not in inside and each not in captured.known]
    outputs = [
        node
        for node in nodes
        if node in wanted or any(user not in inside and user.op != "output" for user in node.users)
    ]
    return Segment(is_net, tuple(nodes), tuple(inputs), tuple(outputs))


def handed_views(captured: Captured) -> dict[Node, str]:
    """Nodes that only make views which are handed out: torch must make these.

    Of an input, or of what is handed out too, itself or as another view: a change of one shows in
    the other.
    """
    inputs = {each for each in captured.inputs if each not in captured.known}
    chains: dict[Node, list[list[Node]]] = {}
    for end in dict.fromkeys(each for each in captured.outputs if hasattr(each, "op")):
        chain = []
        while end.op == "call_function" and _is_view(end):
            chain.append(end)
            end = end.args[0]
        chains.setdefault(end, []).append(chain)
    found: dict[Node, str] = {}
    for base, all_views in chains.items():
        why = "an input" if base in inputs else "another result" if len(all_views) > 1 else ""
        for chain in all_views if why else ():
            found.update(dict.fromkeys(chain, f"it hands out a view of {why}"))
    return found


def _is_view(node: Node) -> bool:
    if node.target is operator.getitem:
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(each.alias_info is not None for each in schema.returns)
