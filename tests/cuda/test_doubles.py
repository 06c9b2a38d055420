"""Operators of float64 as CUDA: from the loops, as no kernel written by hand takes them."""

from pathlib import Path

import numpy as np

from cnnc.backends.cuda.kernels.registry import OFFERS
from cnnc.backends.cuda.plan import plan_cuda
from cnnc.backends.cuda.targets import cuda_target
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.lowering.lower import lower
from tests.backends.test_doubles import assert_close
from tests.cuda.shim import SANITIZE, Library, Net, compile_nets
from tests.ops.doubles import DOUBLES, Double

CASES = DOUBLES[::3]


def _layer(case: Double, number: int) -> tuple[list[Node], Node]:
    """The inputs of a case, and its result."""
    leaves = []
    for place, (kind, value) in enumerate(zip(case.types, case.operands, strict=True)):
        name = f"x{number}_{place}"
        leaf = Input(name) if place < case.data else Constant(value)
        leaves.append(Node(leaf, (), kind, name))
    return leaves[: case.data], Node(case.op, tuple(leaves), case.result, f"op{number}")


def test_operators_of_float64_agree_with_the_reference(tmp_path: Path) -> None:
    layers = [_layer(case, number) for number, case in enumerate(CASES)]
    inputs = tuple(node for nodes, _ in layers for node in nodes)
    graph = Graph("doubles", inputs, {f"y{i}": node for i, (_, node) in enumerate(layers)})
    target = cuda_target("cuda")
    plan = plan_cuda(lower(graph, target).program, target, offers=OFFERS)
    net = Net(Library(compile_nets(tmp_path, [plan], ("-O0", *SANITIZE))), plan)
    data = [operand for case in CASES for operand in case.operands[: case.data]]
    outs = net.run([np.ascontiguousarray(each) for each in data])
    for case, out in zip(CASES, outs, strict=True):
        assert_close(case, out, list(case.operands))
