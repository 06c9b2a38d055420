"""Every operator × sample as CUDA against the reference: row-major and with channels last.

Kernels from the loops, and exact ones written by hand; these have tests of their own as well. All
cases are layers of a few networks with inputs and outputs of their own, as compiling takes longest.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cnnc.backends.cuda.kernels.registry import OFFERS
from cnnc.backends.cuda.plan import Plan, plan_cuda
from cnnc.backends.cuda.targets import cuda_target
from cnnc.base.layout import Layout
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.lowering.lower import lower
from cnnc.ops.repack import Repack
from tests.backends.support import assert_within
from tests.backends.test_operators import sprinkled
from tests.cuda.shim import ORDERS, SANITIZE, Array, Library, Net, compile_nets
from tests.ops.cases import CASES, Case, dtype_of, stored

LAST = [case for case in CASES if any(each.ndim > 2 for each in case.operands)]
BY_HAND = [case for case in LAST if case.op.name in ("conv", "conv_transpose", "pool")]
NETS = {"rows": CASES, "last": LAST, "exact": BY_HAND}


def _leaf(op: Input | Constant, value: Array, name: str) -> Node:
    return Node(op, (), TensorType.plain(value.shape, dtype_of(value)), name)


def layer_of_case(
    case: Case, number: int, *, last: bool, copied: bool = False
) -> tuple[list[Node], Node]:
    """The inputs of a case, and its result; with channels last in between, or as copies."""
    split = len(case.operands) - len(case.parameters)
    inputs, operands = list[Node](), list[Node]()
    for position, value in enumerate(case.operands):
        name = f"x{number}_{position}"
        if position >= split:
            operands.append(_leaf(Constant(stored(value)), value, name))
            continue
        inputs.append(_leaf(Input(name), value, name))
        operands.append(_turned(inputs[-1], last=last) if last or copied else inputs[-1])
    out = case.op.infer(*(operand.type for operand in operands))
    node = Node(case.op, tuple(operands), TensorType.plain(out.shape, out.dtype), f"op{number}")
    if last and out.rank >= 3:
        turned = Node(node.op, node.inputs, _last(node.type), f"op{number}")
        return inputs, Node(Repack(), (turned,), node.type, f"y{number}")
    return inputs, Node(Repack(), (node,), node.type, f"y{number}") if copied else node


def _last(kind: TensorType) -> TensorType:
    return kind.with_layout(Layout.channels_last(kind.rank))


def _turned(node: Node, *, last: bool) -> Node:
    return Node(Repack(), (node,), _last(node.type) if last else node.type, f"{node.name}_copy")


def _plan(name: str, cases: Sequence[Case]) -> Plan:
    layers = [layer_of_case(case, number, last=name != "rows") for number, case in enumerate(cases)]
    inputs = tuple(node for nodes, _ in layers for node in nodes)
    graph = Graph(name, inputs, {f"y{i}": node for i, (_, node) in enumerate(layers)})
    target = cuda_target("cuda:f32_exact")
    offers = OFFERS if name == "exact" else ()
    return plan_cuda(lower(graph, target).program, target, offers=offers)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Net]:
    """Both networks, compiled with checks of undefined behaviour."""
    folder: Path = tmp_path_factory.mktemp("cuda")
    plans = [_plan(name, cases) for name, cases in NETS.items()]
    library = Library(compile_nets(folder, plans, ("-O0", *SANITIZE)))
    return {plan.abi.name: Net(library, plan) for plan in plans}


def _data(cases: Sequence[Case]) -> list[list[Array]]:
    return [list(case.operands[: len(case.operands) - len(case.parameters)]) for case in cases]


def _check(cases: Sequence[Case], data: Sequence[Sequence[Array]], outs: Sequence[Array]) -> None:
    for case, operands, out in zip(cases, data, outs, strict=True):
        everything = [*operands, *case.operands[len(operands) :]]
        with np.errstate(all="ignore"):
            exact = case.op.reference(*everything)
        try:
            assert_within(case.op, out, exact, everything)
        except AssertionError as error:
            raise AssertionError(str(case)) from error


@pytest.mark.parametrize("name", NETS)
def test_operators_agree_with_the_reference(nets: dict[str, Net], name: str) -> None:
    cases, data = NETS[name], _data(NETS[name])
    outs = nets[name].run([stored(each) for operands in data for each in operands])
    _check(cases, data, outs)


@pytest.mark.parametrize("name", NETS)
def test_special_values_come_out_as_in_the_reference(nets: dict[str, Net], name: str) -> None:
    cases = NETS[name]
    rng = np.random.default_rng(7)
    data = [[sprinkled(each, rng) for each in operands] for operands in _data(cases)]
    outs = nets[name].run([stored(each) for operands in data for each in operands])
    _check(cases, data, outs)


@pytest.mark.parametrize("order", ORDERS[1:])
def test_results_do_not_depend_on_the_order_of_threads(nets: dict[str, Net], order: str) -> None:
    for name, cases in NETS.items():
        inputs = [stored(each) for operands in _data(cases) for each in operands]
        first, second = nets[name].run(inputs), nets[name].run(inputs, order)
        for case, a, b in zip(cases, first, second, strict=True):
            assert a.tobytes() == b.tobytes(), str(case)
