"""Every operator × sample on tensors of 16 bits, against the reference on the same numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cnnc.backends.cuda.kernels.registry import OFFERS, Offer
from cnnc.backends.cuda.plan import Plan, plan_cuda
from cnnc.backends.cuda.targets import cuda_target
from cnnc.base.half import HALVES, Half
from cnnc.ir.graph import Graph
from cnnc.lowering.lower import lower
from tests.backends.test_operators import sprinkled
from tests.cuda.shim import ORDERS, SANITIZE, Array, Library, Net, compile_nets
from tests.cuda.test_operators import LAST, layer_of_case
from tests.ops.cases import CASES, Case, stored

NETS: dict[str, tuple[str, Sequence[Case], Sequence[Offer]]] = {
    "rows": ("bf16", CASES, ()),
    "last": ("f16", LAST, OFFERS),
}
"""Precision, cases, kernels written by hand."""
MOST = {"bf16": 3.3e38, "f16": 65504.0}
"""Numbers from here on may become infinite."""


def _plan(name: str) -> Plan:
    precision, cases, offers = NETS[name]
    layers = [
        layer_of_case(case, number, last=name == "last", copied=True)
        for number, case in enumerate(cases)
    ]
    inputs = tuple(node for nodes, _ in layers for node in nodes)
    graph = Graph(name, inputs, {f"y{i}": node for i, (_, node) in enumerate(layers)})
    target = cuda_target(f"cuda:{precision}")
    return plan_cuda(lower(graph, target).program, target, offers=offers)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Net]:
    """Both networks, compiled with checks of undefined behaviour."""
    folder: Path = tmp_path_factory.mktemp("cuda")
    plans = [_plan(name) for name in NETS]
    library = Library(compile_nets(folder, plans, ("-O0", *SANITIZE)))
    return {plan.abi.name: Net(library, plan) for plan in plans}


def _rounded(values: Array, half: Half) -> Array:
    """What a kernel reads of a float32 tensor."""
    given = stored(values)
    return half.widen(half.narrow(given)) if given.dtype == np.float32 else given


def _check(case: Case, operands: Sequence[Array], out: Array, half: Half) -> None:
    weights = case.operands[len(operands) :]
    read = [*(_rounded(each, half) for each in operands), *weights]
    exact_read = [np.asarray(e, np.float64) if e.dtype == np.float32 else e for e in read]
    with np.errstate(all="ignore"):
        exact = case.op.reference(*exact_read)
        # packed weights have 16 bits as well: products are off as if x were
        errors = [np.zeros(each.shape) for each in exact_read]
        if weights:
            errors[0] = np.abs(exact_read[0]) * half.roundoff
        bound = case.op.error(2.0**-24, exact, exact_read, errors)
    if out.dtype != np.float32:
        wanted = stored(exact)
        assert bound.any() or np.array_equal(out, wanted), str(case)
        assert (np.abs(out.astype(np.float64) - wanted.astype(np.float64)) <= bound).all()
        return
    with np.errstate(all="ignore"):
        bound = bound + half.error(np.abs(exact) + bound)
        largest = np.abs(exact) + bound
        expected = half.widen(half.narrow(stored(exact)))
    fits = np.isfinite(expected) & np.isfinite(largest) & (largest < MOST[half.name])
    sure = np.isnan(expected) | (np.isinf(expected) & ~np.isnan(bound))
    np.testing.assert_array_equal(np.isnan(out[sure]), np.isnan(expected[sure]), str(case))
    wrong = np.abs(out[fits] - exact[fits]) > bound[fits]
    assert not wrong.any(), (str(case), out[fits][wrong][:4], exact[fits][wrong][:4])


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_operators_agree_with_the_reference(nets: dict[str, Net], name: str, special: bool) -> None:
    precision, cases, _ = NETS[name]
    random = np.random.default_rng(7)
    data = [case.operands[: len(case.operands) - len(case.parameters)] for case in cases]
    if special:
        data = [[sprinkled(each, random) for each in operands] for operands in data]
    outs = nets[name].run([stored(each) for operands in data for each in operands])
    for case, operands, out in zip(cases, data, outs, strict=True):
        _check(case, operands, out, HALVES[precision])


@pytest.mark.parametrize("name", NETS)
def test_results_do_not_depend_on_the_order_of_threads(nets: dict[str, Net], name: str) -> None:
    _, cases, _ = NETS[name]
    data = [case.operands[: len(case.operands) - len(case.parameters)] for case in cases]
    inputs = [stored(each) for operands in data for each in operands]
    first = nets[name].run(inputs)
    for order in ORDERS[1:]:
        for case, a, b in zip(cases, first, nets[name].run(inputs, order), strict=True):
            assert a.tobytes() == b.tobytes(), str(case)
