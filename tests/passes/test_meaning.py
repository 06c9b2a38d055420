"""Passes keep the meaning of random graphs, alone and in the order of the driver."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from cnnc.ir.evaluate import evaluate, trace, widen
from cnnc.ir.graph import Graph
from cnnc.ir.verify import verify
from cnnc.ops.flatten import Flatten
from cnnc.ops.fused import Fused
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.reshape import Reshape
from cnnc.passes.fold_batchnorm import fold_batchnorm
from cnnc.passes.fold_constants import fold_constants
from cnnc.passes.fuse import LONGEST_TAIL, fuse
from cnnc.passes.share_common import share_common
from cnnc.passes.simplify import simplify
from tests.ir.random_graphs import arrays_for, graphs

Pass = Callable[[Graph], Graph]
PASSES: list[Pass] = [fold_constants, fold_batchnorm, simplify, share_common, fuse]
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_same_meaning(before: Graph, after: Graph) -> None:
    """Equal outputs up to the rounding of float64, measured against the largest value inside."""
    arrays = arrays_for(before)
    size = max(float(np.abs(step.value).max()) for step in trace(before, arrays))
    expected, found = evaluate(before, arrays), evaluate(after, arrays)
    assert list(found) == list(expected)
    for name, output in before.outputs.items():
        assert output.type.dtype.is_float
        close = np.isclose(widen(found[name]), widen(expected[name]), 1e-9, 1e-11 * (1 + size))
        assert close.all(), f"{name} differs"


@pytest.mark.parametrize("run", PASSES, ids=lambda run: run.__name__)
@QUICK
@given(graph=graphs())
def test_each_pass_keeps_the_meaning(run: Pass, graph: Graph) -> None:
    """Valid before, valid after, equal results; a second run changes nothing."""
    verify(graph)
    after = run(graph)
    verify(after)
    assert after.inputs == graph.inputs
    assert_same_meaning(graph, after)
    assert run(after) is after


@QUICK
@given(graph=graphs())
def test_all_passes_in_a_row_keep_the_meaning(graph: Graph) -> None:
    """As the driver runs them."""
    after = graph
    for run in PASSES:
        after = run(after)
        verify(after)
    assert_same_meaning(graph, after)


@QUICK
@given(graph=graphs())
def test_fusion_leaves_nothing_to_join(graph: Graph) -> None:
    """No pointwise operator stands alone behind a value of its type that only it reads."""
    after = fuse(graph)
    for node in after.nodes:
        users = set(after.users[node])
        if isinstance(node.op, Fused):
            extras = node.inputs[node.op.root_arity :]
            assert len(set(extras)) == len(extras)
            assert 1 <= len(node.op.tail) <= LONGEST_TAIL
        takes_more = not isinstance(node.op, Fused) or len(node.op.tail) < LONGEST_TAIL
        may_join = not node.is_leaf and not isinstance(node.op, Flatten | Reshape) and takes_more
        if may_join and len(users) == 1 and node not in after.output_nodes:
            (user,) = users
            assert not isinstance(user.op, Pointwise) or user.type != node.type


@pytest.mark.parametrize("run", PASSES, ids=lambda run: run.__name__)
def test_random_graphs_give_each_pass_something_to_do(run: Pass) -> None:
    """Otherwise the tests above would show nothing."""
    options = settings(max_examples=1000, phases=[Phase.generate], database=None)
    assert find(graphs(), lambda graph: run(graph) is not graph, settings=options)
