"""Transposed convolutions of many channels: every phase, border and order of loops."""

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.native.host import host_target
from cnnc.backends.native.targets import named_target
from cnnc.ir.graph import Graph
from cnnc.loop.kernel import For, Kernel, Kind, Store, walk
from cnnc.ops.attributes import Padding
from cnnc.ops.conv_transpose import ConvTranspose
from tests.backends.compilers import NATIVE, C
from tests.backends.support import assert_within, lowered, run, single
from tests.ops.cases import Case, make_case

ONES, UNEVEN = Padding(explicit=((1, 1),)), Padding(explicit=((1, 2), (0, 1)))
WIDE = Padding(explicit=((4, 4),))
LAYERS: dict[str, tuple[ConvTranspose, tuple[int, ...]]] = {
    "phases of one tap": (ConvTranspose(33, (2,), (2,)), (1, 17, 5, 9)),
    "as many taps in every phase": (ConvTranspose(32, (4,), (2,), ONES), (1, 16, 6, 15)),
    "an odd result": (ConvTranspose(32, (3,), (2,), ONES), (1, 16, 7, 5)),
    "a batch": (ConvTranspose(34, (3,), (2,), ONES, (1,)), (3, 17, 6, 4)),
    "another stride for each axis": (ConvTranspose(20, (3, 4), (1, 3), UNEVEN), (2, 18, 5, 6)),
    "positions that receive nothing": (ConvTranspose(32, (2,), (5,)), (1, 16, 3, 4)),
    "dilation": (ConvTranspose(32, (3,), (2,), ONES, dilation=(2,)), (1, 16, 6, 5)),
    "groups": (ConvTranspose(64, (4,), (2,), ONES, groups=2), (1, 32, 5, 6)),
    "each channel for itself": (ConvTranspose(32, (4,), (2,), ONES, groups=32), (1, 32, 5, 7)),
    "one row": (ConvTranspose(48, (3,), (3,)), (2, 16, 1, 20)),
    "a series": (ConvTranspose(33, (4,), (2,), ONES), (2, 17, 41)),
    "a series of many phases": (ConvTranspose(32, (16,), (8,), WIDE), (1, 16, 31)),
    "a volume": (ConvTranspose(32, (3,), (2,), ONES), (1, 16, 3, 4, 5)),
    "too many phases": (ConvTranspose(32, (5,), (9,), dilation=(7,)), (1, 16, 2, 3)),
    "rows first": (ConvTranspose(64, (4,), (2,), ONES), (1, 64, 30, 150)),
    "rows first, a series": (ConvTranspose(64, (3,), (2,), ONES), (1, 32, 6000)),
}
CASES = {name: make_case(op, [shape]) for name, (op, shape) in LAYERS.items()}


def graph_of(case: Case) -> Graph:
    """The layer alone; its input is copied into blocks of channels."""
    return single(case.op, case.operands[:1], case.operands[1:])


@pytest.mark.parametrize(
    ("backend", "threads"), [(NATIVE, 1), (NATIVE, 2), (C, 2)], ids=["1", "2", "c"]
)
@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_the_reference(name: str, backend: Backend, threads: int) -> None:
    case = CASES[name]
    out = run(graph_of(case), case.operands[:1], backend, host_target(), threads=threads)[0]
    assert_within(case.op, out, case.op.reference(*case.operands), case.operands)


@pytest.mark.parametrize("name", ["an odd result", "as many taps in every phase", "a series"])
def test_what_is_not_finite_reaches_its_own_results_only(name: str) -> None:
    case = CASES[name]
    x = case.operands[0].copy()
    x.flat[::37], x.flat[5], x.flat[77] = np.inf, np.nan, -np.inf
    spread = Case(case.op, (x, *case.operands[1:]))
    with np.errstate(invalid="ignore"):
        exact = case.op.reference(*spread.operands)
    assert np.isfinite(exact).any()
    out = run(graph_of(spread), [x], NATIVE, host_target())[0]
    assert_within(case.op, out, exact, spread.operands)


def kernel_of(name: str) -> Kernel:
    """The layer's scheduled loops."""
    layers = lowered(graph_of(CASES[name]), named_target("x86-64-v4")).layers
    return next(layer.kernel for layer in layers if layer.node.name == "layer")


@pytest.mark.parametrize("name", ["as many taps in every phase", "an odd result", "dilation"])
def test_all_phases_of_a_row_come_before_the_next_row(name: str) -> None:
    """The loop over rows is shared, and holds the stores of all four phases."""
    kernel = kernel_of(name)
    stores = {store.index[2:] for store in walk(kernel.body) if isinstance(store, Store)}
    rows = [loop for loop in walk(kernel.body) if isinstance(loop, For) and loop.var == "oh.0"]
    assert rows[0].kind is Kind.PARALLEL
    held = [store.index for store in walk(rows[0].body) if isinstance(store, Store)]
    places = {(str(index[2]), str(index[3])) for index in held if index[2:] in stores}
    assert len(places) >= 4
