"""Numbers that `torch.compile` hands to a graph as tensors, so that one graph does for all."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnc.torch.capture import Node
from cnnc.torch.needed import import_torch


def number_places(inputs: Sequence[Node], examples: Sequence[Any]) -> list[int]:
    """The inputs that are tensors of f64 without axes, of which only `item` is asked."""
    torch = import_torch()
    return [
        place
        for place, (node, each) in enumerate(zip(inputs, examples, strict=True))
        if isinstance(each, torch.Tensor)
        and each.dtype is torch.float64
        and each.ndim == 0
        and node.users
        and all(user.op == "call_method" and user.target == "item" for user in node.users)
    ]


def with_numbers(graph: Any, numbers: Mapping[int, float]) -> Any:
    """The graph with numbers in place of what it reads of some inputs, which stay."""
    torch = import_torch()
    made = torch.fx.Graph()
    copies: dict[Node, Node] = {}
    made.output(made.graph_copy(graph.graph, copies))
    inputs = [node for node in made.nodes if node.op == "placeholder"]
    for place, number in numbers.items():
        for item in [*inputs[place].users]:
            for user in [*item.users]:
                user.args, user.kwargs = torch.fx.node.map_arg(
                    (user.args, user.kwargs),
                    lambda each, item=item, number=number: number if each is item else each,
                )
            made.erase_node(item)
    return torch.fx.GraphModule(graph, made)
