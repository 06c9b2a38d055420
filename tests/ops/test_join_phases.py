"""What joins the phases of a stride: against depth_to_space, as loops, and from blocks."""

from math import prod

import numpy as np
import pytest

from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.host import host_target
from cnnc.ops.graph_text import GraphTextError, parse_operator
from cnnc.ops.movement.depth_to_space import DepthToSpace
from cnnc.ops.movement.join_phases import JoinPhases
from tests.backends.compilers import NATIVE
from tests.backends.support import run, single
from tests.backends.test_blocked import behind
from tests.ops.cases import Case, make_case
from tests.ops.evaluate_loops import run_loops

CASES = [
    make_case(JoinPhases(stride, before, out, mode), [(samples, channels * prod(stride), *spatial)])
    for mode in ("crd", "dcr")
    for samples, channels, spatial, stride, before, out in (
        (1, 1, (5, 7), (2, 2), (0, 0), (10, 14)),
        (3, 1, (4, 6), (3, 3), (1, 1), (9, 15)),
        (1, 3, (4, 5), (2, 2), (1, 1), (6, 8)),
        (2, 5, (4, 70), (3, 4), (2, 3), (8, 250)),
        (1, 2, (9,), (8,), (4,), (64,)),
        (1, 1, (2, 2), (4, 5), (3, 4), (2, 2)),
        (1, 1, (1, 1), (5, 7), (1, 2), (3, 4)),
        (2, 2, (4, 6), (2, 1), (1, 2), (5, 4)),
        (1, 1, (4, 6), (1, 3), (0, 2), (4, 13)),
        (1, 1, (2, 3, 4), (2, 3, 2), (1, 0, 1), (3, 8, 6)),
        (1, 17, (3, 3), (2, 2), (0, 1), (6, 5)),
        (1, 8, (100, 3), (2, 2), (1, 0), (198, 6)),
        (2, 16, (5, 4), (2, 3), (1, 1), (8, 10)),
        (1, 32, (9,), (4,), (3,), (30,)),
    )
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_a_window_of_depth_to_space(case: Case) -> None:
    op, (x,) = case.op, case.operands
    assert isinstance(op, JoinPhases)
    whole = DepthToSpace(op.stride, op.mode).reference(x)
    window = (slice(b, b + extent) for b, extent in zip(op.before, op.out, strict=True))
    np.testing.assert_array_equal(op.reference(x), whole[(slice(None), slice(None), *window)])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loops_agree(case: Case) -> None:
    """As defined; from rows, by both backends and on two threads; from blocks of channels."""
    exact = case.op.reference(*case.operands).astype(np.float32)
    np.testing.assert_array_equal(run_loops(case.op, case.operands), exact)
    x, target = case.operands[:1], host_target()
    alone = single(case.op, x, ())
    for backend, threads in ((INTERP, 1), (NATIVE, 1), (NATIVE, 2)):
        np.testing.assert_array_equal(run(alone, x, backend, target, threads)[0], exact)
    for threads in (1, 2):
        np.testing.assert_array_equal(run(behind(case), x, NATIVE, target, threads)[0], exact)


def test_it_prints_and_reads_back() -> None:
    op = JoinPhases((3, 2), (1, 0), (7, 8))
    assert op.label == "join_phases(stride=[3, 2], before=[1, 0], out=[7, 8])"
    assert parse_operator(op.label) == op
    by_blocks = JoinPhases((3, 2), (1, 0), (7, 8), "dcr")
    assert by_blocks.label == "join_phases(stride=[3, 2], before=[1, 0], out=[7, 8], mode=dcr)"
    assert parse_operator(by_blocks.label) == by_blocks
    with pytest.raises(GraphTextError, match="join_phases needs stride, before, out"):
        parse_operator("join_phases(stride=[3])")
    with pytest.raises(GraphTextError):
        parse_operator("join_phases(stride=[3], before=[-1], out=[3])")
