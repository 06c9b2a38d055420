"""Text in, text out: `cases/PASS.txt` holds graphs before and after a pass.

A case is a line `== what it shows`, a graph, a line `-> becomes`, and the graph after the pass, or
`(unchanged)` where the pass must return the very same graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from cnnc.ir.graph import Graph
from cnnc.ir.text import format_graph
from cnnc.ir.verify import verify
from cnnc.ops.graph_text import parse_graph

FOLDER = Path(__file__).parent / "cases"
UNCHANGED = "(unchanged)\n"


@dataclass(frozen=True)
class Case:
    """One graph before and after a pass."""

    pass_name: str
    title: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.pass_name}: {self.title}"


def cases() -> list[Case]:
    """All cases of all files."""
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for block in path.read_text(encoding="utf-8").split("== ")[1:]:
            title, _, graphs = block.partition("\n")
            before, _, after = graphs.partition("-> becomes\n")
            found.append(Case(path.stem, title, before, after.rstrip("\n") + "\n"))
    return found


def run(case: Case) -> tuple[Graph, Graph]:
    """The graph before and after the pass."""
    module = import_module(f"cnnc.passes.{case.pass_name}")
    run_pass: Callable[[Graph], Graph] = getattr(module, case.pass_name)
    before = parse_graph(case.before, name=case.title)
    verify(before)
    return before, run_pass(before)


@pytest.mark.parametrize("case", cases(), ids=str)
def test_case(case: Case) -> None:
    """The pass makes exactly the graph that the case shows."""
    before, after = run(case)
    verify(after)
    assert (UNCHANGED if after is before else format_graph(after)) == case.after


@pytest.mark.parametrize("case", cases(), ids=str)
def test_spans_and_outputs_survive(case: Case) -> None:
    """Every node still says where it comes from; inputs and outputs keep order, name and type."""
    before, after = run(case)
    assert all(node.span is not None for node in after.nodes)
    assert [node.name for node in after.inputs] == [node.name for node in before.inputs]
    assert list(after.outputs) == list(before.outputs)
    for name, node in after.outputs.items():
        assert node.type == before.outputs[name].type


def test_there_are_cases_for_every_pass() -> None:
    """A pass without a file of cases, or a file without cases, is a mistake."""
    passes = {path.stem for path in (FOLDER.parents[2] / "cnnc" / "passes").glob("[!_]*.py")}
    # those that ask for a target have files of their own
    for_a_target = {"assign_layouts", "merge_convs", "order_concats", "stream_rows"}
    for_a_target |= {"take_apart", "use_strassen", "use_subpixel", "use_winograd"}
    assert passes - for_a_target == {case.pass_name for case in cases()}
