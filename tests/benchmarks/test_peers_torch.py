"""The PyTorch modules of the benchmark compute what the operators say."""

import numpy as np
import pytest
from peers.agreement import compare
from peers.main import zoo
from peers.unsupported import UnsupportedError

import cnnc
from tests.onnx.runtime import graph_of
from tests.ops.cases import CASES, Case, stored

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
REFUSED = {"conv_transpose", "lrn", "pool", "resize"}
"""Operators of which some samples cannot be said in PyTorch."""


def known(op: object) -> bool:
    """Whether there is a function for the operator."""
    from peers.to_torch.module import build

    return build.dispatch(type(op)) is not build.dispatch(object)


def result(case: Case) -> np.ndarray:
    """What the module computes."""
    from peers.to_torch.module import torch_module

    count = len(case.operands) - len(case.parameters)
    inputs = (torch.from_numpy(stored(operand)) for operand in case.operands[:count])
    with torch.inference_mode():
        (found,) = torch_module(graph_of(case))(*inputs)
    return np.asarray(found.numpy())


def test_operators_mean_the_same() -> None:
    """Every sample of every known operator, but those that are refused by name."""
    wrong: dict[str, str] = {}
    refused = set()
    for case in (case for case in CASES if known(case.op)):
        wanted = {"y": np.asarray(case.op.reference(*case.operands), np.float64)}
        try:
            _, reason = compare(wanted, {"y": result(case)})
        except UnsupportedError:
            refused.add(case.op.name)
        else:
            wrong |= {str(case): reason} if reason else {}
    assert wrong == {}
    assert refused <= REFUSED


@pytest.mark.parametrize("name", zoo())
def test_every_operator_of_the_zoo_is_known(name: str) -> None:
    """Whatever stands in a network can be built."""
    model = cnnc.load(zoo()[name], weights=False)
    missing = {node.op.label for node in model.graph.nodes if not (node.is_leaf or known(node.op))}
    assert missing == set()
