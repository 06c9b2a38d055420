"""Operators behind a convolution, where tensors lie in blocks of channels; volumes among them."""

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.host import host_target
from cnnc.backends.native.targets import named_target
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.normalisation.group_norm import GroupNorm
from cnnc.ops.normalisation.instance_norm import InstanceNorm
from cnnc.ops.normalisation.layer_norm import LayerNorm
from cnnc.ops.normalisation.lrn import Lrn
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum
from cnnc.ops.spec import Operator
from cnnc.ops.unshared import Unshared
from tests.backends.compilers import NATIVE
from tests.backends.machines import SCALAR, SMALL, machine
from tests.backends.support import F32, assert_within, in_blocks, lowered, run
from tests.ops.cases import Case, make_case

SAME = Padding("same")
VOLUMES: list[tuple[Operator, tuple[int, ...]]] = [
    (Conv(34, (3, 2, 3), (2, 1, 2), SAME, (1, 2, 1)), (1, 17, 4, 5, 6)),
    (Conv(32, (3,), pad=SAME, groups=2), (1, 32, 3, 4, 5)),
    (Conv(17, (2,), groups=17), (1, 17, 3, 4, 5)),
    (ConvTranspose(34, (3, 2, 4), (2, 1, 3), SAME), (1, 17, 2, 3, 4)),
    (ConvTranspose(32, (2,), (2,), groups=2), (1, 16, 2, 3, 2)),
    (ConvTranspose(17, (2,), (2,), dilation=(1, 3, 2), groups=17), (1, 17, 2, 3, 2)),
    (Unshared(17, (2,), (1, 2, 1)), (1, 17, 3, 4, 3)),
    (Pool(Maximum(), (2, 3, 2), (1, 2, 2), dilation=(2, 1, 1)), (1, 17, 5, 4, 6)),
    (Pool(Average(), (3,), (2,), SAME), (2, 17, 4, 3, 5)),
    (InstanceNorm(), (2, 17, 2, 3, 4)),
]
IMAGES: list[tuple[Operator, tuple[int, ...]]] = [
    (InstanceNorm(), (2, 33, 5, 7)),
    (InstanceNorm(affine=False), (1, 16, 1, 4)),
    (GroupNorm(4), (2, 32, 5, 7)),
    (LayerNorm((1,)), (1, 33, 5, 7)),
    (LayerNorm((1, 2, 3)), (1, 17, 5, 4)),
    (Lrn(5), (1, 17, 5, 7)),
    (ConvTranspose(1, (3,), (2,), SAME), (1, 17, 5, 40)),
    (Conv(1, (3,), pad=SAME), (1, 17, 5, 40)),
]
BLOCKED = (Conv, ConvTranspose, Unshared, Pool, InstanceNorm)


def behind(case: Case) -> Graph:
    """The operator behind a convolution that changes nothing, as networks have it."""
    kind = TensorType.plain(case.operands[0].shape)
    rank, channels = kind.rank, kind.channels
    x = Node(Input("x"), (), kind, "x")
    first = Conv(channels, (1,), bias=False)
    eye = np.eye(channels, dtype=np.float32).reshape(channels, channels, *[1] * (rank - 2))
    weight = Node(Constant(eye), (), TensorType.plain(eye.shape), "first.weight")
    start = Node(first, (x, weight), first.infer(kind, weight.type), "first")
    values = [value.astype(np.float32) for value in case.operands[1:]]
    own = [
        Node(Constant(value), (), TensorType.plain(value.shape), f"layer.{number}")
        for number, value in enumerate(values)
    ]
    inputs = (start, *own)
    made = Node(case.op, inputs, case.op.infer(*(each.type for each in inputs)), "layer")
    return Graph("behind", (x,), {"y": made})


def compute(case: Case, backend: Backend, target: Target, threads: int = 1) -> F32:
    """The operator's result behind a convolution whose channels lie in blocks."""
    graph = behind(case)
    return run(graph, case.operands[:1], backend, target, threads, in_blocks(graph))[0]


CASES = [make_case(op, [shape]) for op, shape in (*VOLUMES, *IMAGES)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_agrees_with_the_reference(case: Case) -> None:
    out = compute(case, NATIVE, host_target(), threads=2)
    assert_within(case.op, out, case.op.reference(*case.operands), case.operands)


@pytest.mark.parametrize("name", [SCALAR, SMALL])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_agrees_without_vectors(case: Case, name: str) -> None:
    out = compute(case, NATIVE, machine(name), threads=2)
    assert_within(case.op, out, case.op.reference(*case.operands), case.operands)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        *((CASES[number], "x86-64-v4") for number in (3, 9, 10, 16)),
        *((CASES[number], SMALL) for number in (4, 9, 10, 16)),
    ],
    ids=str,
)
def test_the_interpreter_agrees(case: Case, name: str) -> None:
    out = compute(case, INTERP, machine(name))
    assert_within(case.op, out, case.op.reference(*case.operands), case.operands)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_of_many_channels_are_blocked(case: Case) -> None:
    """Vectors along channels; a single channel, and what mixes channels, along rows."""
    graph = behind(case)
    layers = lowered(graph, named_target("x86-64-v4"), in_blocks(graph)).layers
    made = next(layer for layer in layers if layer.node.name == "layer")
    is_blocked = isinstance(case.op, BLOCKED) and made.node.type.channels > 1
    assert made.kernel.origin.algorithm.startswith("blocked by 16" if is_blocked else "row-major")
    assert "vector" in str(made.kernel.body).lower()
