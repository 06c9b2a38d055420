"""In which order the steps run."""

from collections.abc import Callable, Iterator

from cnnc.ir.graph import Graph, Node
from cnnc.loop.kernel import align
from cnnc.lowering.lifetimes import arena_values, is_step, sources
from cnnc.lowering.plan_memory import least_memory

WORTH = 1 / 16
"""The share of memory that another order must save: the graph's own keeps neighbours together."""


def order_steps(graph: Graph) -> tuple[Node, ...]:
    """All nodes that are computed, operands first, with little memory alive at once.

    The graph's own order goes depth first from the outputs, first operands first. Where that keeps
    more alive than another one, as it does where a sum grows beside a chain, the other is taken.
    """
    own = tuple(node for node in graph.nodes if is_step(node))
    best, least = own, _memory(graph, own) * (1 - WORTH)
    for order in (
        _depth_first(graph, lambda node: sources(node)[::-1]),
        _depth_first(graph, lambda node: sorted(sources(node), key=lambda each: -each.type.bytes)),
        _greedy(graph, own),
    ):
        if (memory := _memory(graph, order)) < least:
            best, least = order, memory
    return best


def _memory(graph: Graph, order: tuple[Node, ...]) -> int:
    return least_memory(tuple(arena_values(graph, order).values()))


def _depth_first(
    graph: Graph, operands: Callable[[Node], "tuple[Node, ...] | list[Node]"]
) -> tuple[Node, ...]:
    """Operands before users, each node's in the order that `operands` has them."""
    done: dict[Node, None] = {}
    for output in filter(is_step, graph.outputs.values()):
        stack: list[tuple[Node, Iterator[Node]]] = [(output, iter(operands(output)))]
        while stack:
            node, rest = stack[-1]
            following = next((n for n in rest if n not in done), None)
            if following is not None:
                stack.append((following, iter(operands(following))))
                continue
            stack.pop()
            done.setdefault(node)
    return tuple(done)


def _greedy(graph: Graph, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Of the nodes whose operands are there always the one that adds least or frees most."""
    sizes = {n: 0 if n in graph.output_nodes else align(n.type.bytes) for n in nodes}
    operands = {n: sources(n) for n in nodes}
    missing = {n: len(operands[n]) for n in nodes}
    readers: dict[Node, list[Node]] = {n: [] for n in nodes}
    for node in nodes:
        for operand in operands[node]:
            readers[operand].append(node)
    unread = {n: len(readers[n]) for n in nodes}
    place = {n: position for position, n in enumerate(nodes)}
    ready = {n for n in nodes if not missing[n]}
    order: list[Node] = []

    def cost(node: Node) -> tuple[int, int]:
        freed = sum(sizes[each] for each in operands[node] if unread[each] == 1)
        return sizes[node] - freed, place[node]

    while ready:
        node = min(ready, key=cost)
        ready.remove(node)
        order.append(node)
        for operand in operands[node]:
            unread[operand] -= 1
        for reader in readers[node]:
            missing[reader] -= 1
            if not missing[reader]:
                ready.add(reader)
    return tuple(order)
