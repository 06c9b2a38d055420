"""Layers that copy channels to where zeros are around them, where memory is small."""

from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.ir.graph import Graph
from cnnc.loop.expr import Space
from cnnc.loop.kernel import Alloc, For, Kernel, walk
from cnnc.lowering.channels import copy_channels
from cnnc.lowering.loops import ScheduleError
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Norm, Weighted
from cnnc.ops.pool_weights import Falloff
from cnnc.ops.spec import Operator
from cnnc.ops.unshared import Unshared
from tests.backends.compilers import NATIVE, C
from tests.backends.machines import SMALL, machine
from tests.backends.support import assert_within, lowered, run, single
from tests.ops.cases import make_case

SAME, UNEVEN = Padding("same"), Padding(explicit=((1, 2), (0, 3)))
LAYERS = [
    (Conv(8, (3,), pad=SAME, groups=8), (3, 8, 7, 5)),
    (Conv(7, (3,), stride=(2,), pad=SAME, groups=7), (2, 7, 9, 8)),
    (
        Conv(12, (5, 3), stride=(1, 2), dilation=(2, 1), pad=SAME, groups=12, bias=False),
        (1, 12, 9, 8),
    ),
    (Conv(8, (3,), pad=UNEVEN, groups=8), (1, 8, 1, 2)),
    (Conv(16, (3,), pad=Padding("causal"), dilation=(4,), groups=16), (2, 16, 11)),
    (Conv(9, (2, 3, 2), pad=SAME, groups=9), (1, 9, 3, 4, 5)),
    (ConvTranspose(8, (3,), groups=8, stride=(2,)), (1, 8, 5, 4)),
    (ConvTranspose(8, (4,), groups=8, stride=(2,)), (2, 8, 6)),
    (Unshared(8, (3,), pad=SAME, groups=8), (1, 8, 5, 6)),
    (Pool(Average(), (3,), (1,), SAME), (2, 8, 5, 4)),
    (Pool(Average(), (3,), (1,), Padding("causal"), (2,)), (2, 8, 11)),
    (Pool(Norm(2.0), (3,), (2,), SAME), (1, 17, 5, 6)),
    (Pool(Weighted(), (3,), (1,), SAME, falloff=Falloff("gaussian", 1.0)), (2, 9, 5, 4)),
    (Pool(Average(), (2, 1, 3), (1, 2, 2), Padding("same_lower")), (1, 8, 3, 4, 5)),
]
RANGE = """cnn 1
net n {
  input x: f32[N, 8, 9, 6]
  output y = x -> relu -> conv(8, 3, pad = same, groups = 8) -> relu
  weights he
}
"""


def scratch(kernel: Kernel) -> list[Alloc]:
    """Where channels are copied to."""
    allocs = [stmt for stmt in walk(kernel.body) if isinstance(stmt, Alloc)]
    return [stmt for stmt in allocs if stmt.buffer.space is Space.SCRATCH]


@pytest.mark.parametrize("backend", [INTERP, NATIVE, C], ids=["interp", "native", "c"])
@pytest.mark.parametrize(("op", "shape"), LAYERS, ids=str)
def test_layers_agree_with_the_reference(
    op: Operator, shape: tuple[int, ...], backend: Backend
) -> None:
    case = make_case(op, [shape])
    data, parameters = case.operands[:1], case.operands[1:]
    graph, target = single(op, data, parameters), machine(SMALL)
    (layer,) = lowered(graph, target).layers
    assert len(scratch(layer.kernel)) == 1
    assert layer.kernel.params[0].layout.is_plain
    out = run(graph, data, backend, target)[0]
    assert_within(op, out, op.reference(*case.operands), case.operands)


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_samples(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop over samples stays the outermost one, where samples are not taken apart."""
    monkeypatch.setattr(driver, "take_apart", lambda graph, target: graph)
    graph = cnnc.load_text(RANGE, batch=(1, 3)).graph
    program = driver.plan(graph, machine(SMALL), exact=False)[0].program
    assert all(kernel.takes_samples for kernel in program.kernels)
    assert any(map(scratch, program.kernels))
    x = np.random.default_rng(0).standard_normal((3, 8, 9, 6)).astype(np.float32)
    whole, some = np.empty_like(x), np.empty_like(x[:count])
    executable = NATIVE.compile(program, machine(SMALL), 1)
    executable.run([x], [whole])
    executable.run([x[:count]], [some])
    assert np.array_equal(some, whole[:count])


def test_kernels_that_begin_otherwise_are_refused() -> None:
    (layer,) = lowered(_graph(), machine(SMALL)).layers
    x, *_ = layer.kernel.params
    (samples,) = layer.kernel.body
    assert isinstance(samples, For)
    with pytest.raises(ScheduleError, match="does not begin with its samples"):
        copy_channels(layer.kernel.with_body((replace(samples, var="m"),)), x)
    inner = For("oc", 3, (samples,))
    with pytest.raises(ScheduleError, match="3 turns for 8 channels"):
        copy_channels(layer.kernel.with_body((For("n", 1, (inner,)),)), x)
    others = (For("n", 1, (inner,)), For("n", 1, (replace(inner, extent=2),)))
    with pytest.raises(ScheduleError, match="nests differ"):
        copy_channels(layer.kernel.with_body(others), x)


def _graph() -> Graph:
    op, shape = LAYERS[0]
    case = make_case(op, [shape])
    return single(op, case.operands[:1], case.operands[1:])
