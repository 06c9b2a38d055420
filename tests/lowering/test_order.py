"""The order of steps: operands first, and little alive at once."""

from hypothesis import given

from cnnc.base.source import SourceFile
from cnnc.frontend.load import load_text
from cnnc.ir.graph import Graph
from cnnc.lowering.lifetimes import arena_values
from cnnc.lowering.order import order_steps
from cnnc.lowering.plan_memory import least_memory
from tests.ir.random_graphs import graphs

HEAD = "cnn 1\nnet n {\n  input x: f32[N, 4, 64]\n"


def loaded(body: str) -> Graph:
    """A network of one series."""
    return load_text(SourceFile("n.cnn", f"{HEAD}{body}  weights he\n}}\n"), None).graph


def memory(graph: Graph, order: tuple[object, ...]) -> int:
    """Bytes alive at once in an order."""
    nodes = [node for node in order if node in set(graph.nodes)]
    return least_memory(list(arena_values(graph, nodes).values()))


@given(graphs())
def test_operands_come_first(graph: Graph) -> None:
    order = order_steps(graph)
    assert len(order) == len(set(order))
    assert set(order) == {node for node in graph.nodes if not node.is_leaf}
    place = {node: position for position, node in enumerate(order)}
    for node in order:
        assert all(place[operand] < place[node] for operand in node.inputs if not operand.is_leaf)
    assert order == order_steps(graph)


def test_a_chain_keeps_the_order_of_the_text() -> None:
    graph = loaded("  output y = x -> conv(4, 3) -> relu -> conv(4, 3) -> relu\n")
    assert order_steps(graph) == tuple(node for node in graph.nodes if not node.is_leaf)


def test_a_sum_grows_beside_its_chain() -> None:
    """Depth first from the output, every term would wait until the last one is there."""
    terms = "".join(
        f"  h{n + 1} = h{n} -> conv(4, 1)\n  s{n + 1} = (h{n + 1} -> conv(4, 1)) + s{n}\n"
        for n in range(12)
    )
    graph = loaded(f"  h0 = x -> relu\n  s0 = h0 -> relu\n{terms}  output y = s12 -> conv(4, 1)\n")
    own = tuple(node for node in graph.nodes if not node.is_leaf)
    assert memory(graph, order_steps(graph)) <= 5 * 1024 < memory(graph, own) / 2


def test_what_shrinks_a_tensor_comes_before_what_only_reads_it() -> None:
    """A skip that is cut small is cut at once."""
    graph = loaded(
        "  a = x -> conv(8, 1)\n  b = a -> conv(8, 1) -> pool(max, 2) -> conv(8, 1)\n"
        "  c = b -> conv(16, 1) -> conv(64, 1) -> conv(8, 1) -> slice(2, 0, 4)\n"
        "  output y = c + (a -> slice(2, 0, 4))\n"
    )
    order = order_steps(graph)
    own = tuple(node for node in graph.nodes if not node.is_leaf)
    assert memory(graph, order) < memory(graph, own)
