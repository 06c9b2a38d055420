"""Convolution by a connection table: against separate convolutions, as loops, and what it hides."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnc.backends.c.backend import BACKEND as C
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.host import host_target
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.conv_map import ConvMap
from cnnc.ops.graph_text import parse_operator
from tests.backends.compilers import NATIVE
from tests.backends.support import assert_within, run, single
from tests.backends.test_blocked import behind
from tests.ops.cases import Case, make_case
from tests.ops.evaluate_loops import run_loops

SAME = Padding("same")
CASES = [
    (Conv(1, (1,)), (1, 1, 1, 1)),
    (Conv(3, (2,), dilation=(4,), pad=Padding("causal")), (2, 5, 13)),
    (Conv(16, (5,)), (1, 6, 14, 14)),
    (Conv(5, (3,), pad=SAME), (2, 3, 7, 6)),
    (Conv(8, (3,), stride=(4,), bias=False), (1, 20, 7, 5)),
    (Conv(34, (3,), pad=SAME), (1, 19, 6, 17)),
    (Conv(7, (2, 3, 2), pad=SAME), (1, 9, 3, 4, 5)),
]


def case_of(conv: Conv, shape: tuple[int, ...]) -> Case:
    """Two of three channels are seen, or all where there are fewer; others have weights -0.0."""
    case = make_case(ConvMap(conv), [shape])
    *rest, table = case.operands
    o, i = np.indices(table.shape)
    seen = ((o + 2 * i) % 3 > 0) | (shape[1] < 3)
    weight = rest[1]
    weight[~seen] = -0.0
    return replace(case, operands=(*rest, seen.astype(np.float64)))


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """One of all."""
    return case_of(*request.param)


def separate(case: Case) -> NDArray[np.float64]:
    """Each channel by a convolution of those that it sees."""
    assert isinstance(case.op, ConvMap)
    x, weight, *bias, table = case.operands
    alone = replace(case.op.conv, channels=1)
    made = [
        alone.reference(x[:, seen], weight[o : o + 1, seen], *(b[o : o + 1] for b in bias))
        for o, seen in enumerate(table > 0)
    ]
    return np.concatenate(made, axis=1)


def test_each_channel_is_a_convolution(case: Case) -> None:
    found = case.op.reference(*case.operands)
    np.testing.assert_allclose(found, separate(case), rtol=1e-12, atol=1e-13)


def test_the_bound_is_that_of_the_sums(case: Case) -> None:
    """As wide as that of a convolution with zeros, and errors of the operand move it."""
    assert isinstance(case.op, ConvMap)
    *operands, _ = case.operands
    out = case.op.reference(*case.operands)
    bounds = []
    for moved in (0.0, 1e-3):
        errors = [
            np.full(value.shape, moved if at == 0 else 0.0) for at, value in enumerate(operands)
        ]
        wide = case.op.conv.error(2.0**-24, out, operands, errors)
        found = case.op.error(2.0**-24, out, case.operands, errors)
        assert (found > 0).any()
        assert (found <= wide * (1 + 1e-6)).all()
        bounds.append(found)
    assert (bounds[1] >= bounds[0]).all()
    assert (bounds[1] > bounds[0]).any()


def test_loops_agree(case: Case) -> None:
    """As defined; from rows and from blocks of channels, by three backends, on two threads."""
    exact = case.op.reference(*case.operands)
    np.testing.assert_allclose(run_loops(case.op, case.operands), exact, rtol=1e-12, atol=1e-13)
    x, target = case.operands[:1], host_target()
    alone = single(case.op, x, case.operands[1:])
    for graph in (alone, behind(case)):
        for backend, threads in ((INTERP, 1), (C, 2), (NATIVE, 1), (NATIVE, 2)):
            out = run(graph, x, backend, target, threads)[0]
            assert_within(case.op, out, exact, case.operands)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_seen_leaves_no_trace(value: float) -> None:
    """Of a channel that is not finite those that do not see it know nothing."""
    case = case_of(Conv(16, (3,), pad=SAME), (1, 6, 5, 9))
    x, weight, bias, table = case.operands
    x[:, 1] = value
    with np.errstate(invalid="ignore"):
        exact = case.op.reference(*case.operands)
    blind = table[:, 1] == 0
    assert 0 < blind.sum() < 16
    assert np.isfinite(exact[:, blind]).all()
    assert not np.isfinite(exact[:, ~blind]).any()
    graph = single(case.op, (x,), (weight, bias, table))
    for backend in (INTERP, C, NATIVE):
        out = run(graph, (x,), backend, host_target())[0]
        np.testing.assert_allclose(out, exact, rtol=1e-4, atol=1e-5)


def test_sums_of_zeros_keep_their_sign() -> None:
    """-0.0 and nothing that is seen beside it: weights of -0.0 make it no 0.0."""
    table = np.zeros((8, 3))
    table[:, 0] = 1
    x, weight, bias = np.zeros((1, 3, 1, 4)), np.full((8, 3, 1, 1), -0.0), np.full(8, -0.0)
    weight[:, 0] = -1.0
    op = ConvMap(Conv(8, (1,)))
    for backend in (INTERP, C, NATIVE):
        out = run(single(op, (x,), (weight, bias, table)), (x,), backend, host_target())[0]
        assert np.signbit(out).all()
        assert not out.any()


def test_it_prints_and_reads_back() -> None:
    op = ConvMap(Conv(16, (5, 3), stride=(2,), bias=False))
    assert op.label == "conv_map(channels=16, kernel=[5, 3], stride=2, bias=false)"
    assert parse_operator(op.label) == op
