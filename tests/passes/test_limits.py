"""Passes stay within bounds on graphs that are large on purpose."""

from time import perf_counter

import pytest

from cnnc.ir.graph import Graph
from cnnc.ops.fused import Fused
from cnnc.ops.graph_text import parse_graph
from cnnc.passes import fold_constants as fold_constants_module
from cnnc.passes.fold_batchnorm import fold_batchnorm
from cnnc.passes.fold_constants import fold_constants
from cnnc.passes.fuse import LONGEST_TAIL, fuse
from cnnc.passes.share_common import share_common
from cnnc.passes.simplify import simplify


def chain(*operators: str) -> Graph:
    """Operators of one operand, one after the other."""
    lines = [f"%{i} n{i} = {op} %{i - 1} : f32[1, 4]" for i, op in enumerate(operators, start=1)]
    header = "graph g (batch=1)\n%0 x = input : f32[1, 4]\n"
    return parse_graph(header + "\n".join(lines) + f"\noutput y = %{len(lines)}\n")


def test_long_chains_are_split() -> None:
    """Tails repeat in every register tile, so none grows without end."""
    graph = fuse(chain(*["tanh", "relu"] * 25))
    tails = [len(node.op.tail) for node in graph.nodes if isinstance(node.op, Fused)]
    assert tails == [LONGEST_TAIL, LONGEST_TAIL, 50 - 2 * (LONGEST_TAIL + 1) - 1]


def test_a_region_longer_than_a_tail_is_left() -> None:
    """A value used again far below does not pull everything between into one kernel."""
    lines = ["graph g (batch=1)", "%0 x = input : f32[1, 4]", "%1 n1 = tanh %0 : f32[1, 4]"]
    lines += [f"%{i} n{i} = tanh %{i - 1} : f32[1, 4]" for i in range(2, 30)]
    lines += ["%30 sum = add %29, %1 : f32[1, 4]", "output y = %30"]
    graph = fuse(parse_graph("\n".join(lines)))
    assert [node.name for node in graph.nodes if not isinstance(node.op, Fused)] == ["x", "n1"]


def test_large_results_are_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small constant must not become a large one: it would be stored."""
    graph = parse_graph(
        "graph g (batch=1)\n%0 a = constant [1.0, 2.0] : f32[1, 2]\n"
        "%1 b = constant [1.0, 2.0] : f32[2, 1]\n%2 c = add %0, %1 : f32[2, 2]\noutput y = %2\n"
    )
    assert fold_constants(graph) is not graph
    monkeypatch.setattr(fold_constants_module, "LARGEST", 3)
    assert fold_constants(graph) is graph


def test_thousands_of_nodes_take_seconds() -> None:
    """What a `repeat` may expand to."""
    graph = chain(*["dropout(rate=0.5)", "relu", "id", "tanh"] * 1500)
    start = perf_counter()
    for run in (fold_constants, fold_batchnorm, simplify, share_common, fuse):
        graph = run(graph)
    assert perf_counter() - start < 10
    assert len(graph.nodes) == 1 + -(-3000 // (LONGEST_TAIL + 1))
