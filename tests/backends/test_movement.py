"""Operators that move elements between neighbours that keep their channels in blocks."""

from dataclasses import replace

import numpy as np
import pytest

from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.targets import named_target
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.loop.kernel import For, Kind, walk
from cnnc.lowering.lower import lower_node
from cnnc.ops.attributes import Padding
from cnnc.ops.concat import Concat
from cnnc.ops.conv import Conv
from cnnc.ops.movement.movement import Movement
from cnnc.ops.movement.pad import Mode, Pad
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.reshape import Reshape
from cnnc.ops.spec import Operator
from cnnc.passes.assign_layouts import assign_layouts
from tests.backends.compilers import NATIVE
from tests.backends.support import run
from tests.ops.cases import CASES, Case

BLOCKED = [
    case
    for case in CASES
    if type(case.op).__module__.startswith("cnnc.ops.movement")
    and case.operands[0].ndim > 2
    and case.op.infer(*case.types).rank > 2
    and not case.op.mixes_batch(*case.types)
]
BACKENDS = [
    pytest.param(INTERP, "x86-64-v4", id="interp"),
    pytest.param(NATIVE, "native", id="native"),
    pytest.param(NATIVE, "x86-64", id="sse2"),
]


def leaf(op: Input | Constant, value: np.ndarray, name: str) -> Node:
    """A node without operands."""
    return Node(op, (), TensorType.plain(value.shape), name)


def copied(x: Node, name: str) -> Node:
    """A convolution that changes nothing, but has its channels in blocks."""
    channels, rank = x.type.channels, len(x.type.spatial)
    weight = np.eye(channels, dtype=np.float32).reshape(channels, channels, *[1] * rank)
    conv = Conv(channels, (1,), bias=False)
    return Node(conv, (x, leaf(Constant(weight), weight, f"{name}.weight")), x.type, name)


def between_convolutions(case: Case) -> Graph:
    """The operator between two such convolutions."""
    data, *rest = case.operands
    x = leaf(Input("x"), data, "x")
    tables = [leaf(Constant(v.astype(np.float32)), v, f"p{i}") for i, v in enumerate(rest)]
    node = Node(case.op, (copied(x, "before"), *tables), case.op.infer(*case.types), "layer")
    return Graph("between", (x,), {"y": copied(node, "after")})


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize("case", BLOCKED, ids=str)
def test_blocks_of_channels_come_out_right(case: Case, backend: object, name: str) -> None:
    (out,) = run(between_convolutions(case), case.operands[:1], backend, named_target(name))
    np.testing.assert_allclose(out, case.op.reference(*case.operands), rtol=1e-5, atol=1e-6)


def test_most_movements_work_in_blocks() -> None:
    """Otherwise the test above shows nothing."""
    blocks = []
    for case in BLOCKED:
        graph = assign_layouts(between_convolutions(case), named_target("x86-64-v3"))
        blocks += [n.type.layout.block(1) for n in graph.nodes if n.name == "layer"]
    assert len(blocks) > 30
    assert sum(block > 1 for block in blocks) > 15


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        (Slice((2,), (1,)), [(1, 3, 5, 40)]),
        (Slice((3,), (1,), (38,)), [(1, 3, 5, 40)]),
        (Pad(Padding(explicit=((1, 1),))), [(1, 3, 5, 40)]),
        (Pad(Padding(explicit=((0, 0), (2, 1))), Mode("edge")), [(1, 3, 5, 40)]),
        (Concat(), [(1, 3, 40), (1, 2, 40)]),
        (Concat(2), [(1, 3, 3), (1, 3, 40)]),
    ],
    ids=lambda value: value.label if isinstance(value, Operator) else "",
)
def test_rows_are_copied_in_vectors(op: Operator, shapes: list[tuple[int, ...]]) -> None:
    types = [TensorType.plain(shape) for shape in shapes]
    inputs = tuple(leaf(Input(f"x{i}"), np.empty(t.shape), f"x{i}") for i, t in enumerate(types))
    kernel = lower_node(Node(op, inputs, op.infer(*types), "y"), named_target("x86-64-v3"))
    extents = [s.extent for s in walk(kernel.body) if isinstance(s, For) and s.kind is Kind.VECTOR]
    assert 8 in extents
    assert max(extents) == 8


def test_columns_are_not_read_as_rows() -> None:
    """Elements that are no neighbours would have to be collected one by one."""
    op, x = Slice((3,), step=(2,)), TensorType.plain((1, 3, 5, 40))
    node = Node(op, (leaf(Input("x"), np.empty(x.shape), "x"),), op.infer(x), "y")
    kernel = lower_node(node, named_target("x86-64-v3"))
    assert not any(isinstance(s, For) and s.kind is Kind.VECTOR for s in walk(kernel.body))
    assert isinstance(op, Movement)


def test_transpositions_read_in_vectors() -> None:
    """Vectors lie along the axis that is read, be it in rows or in blocks of channels."""
    op, x = Transpose((0, 2, 3, 1)), TensorType.plain((1, 24, 5, 21))
    for layout in (x.layout, x.layout.blocked(4, 1, 8)):
        node = leaf(Input("x"), np.empty(x.shape), "x")
        node = replace(node, type=x.with_layout(layout))
        kernel = lower_node(Node(op, (node,), op.infer(x), "y"), named_target("x86-64-v3"))
        loops = [s for s in walk(kernel.body) if isinstance(s, For) and s.kind is Kind.VECTOR]
        assert [loop.extent for loop in loops] == ([8, 5] if layout.is_plain else [8])


@pytest.mark.parametrize("shape", [(0, 4, -1), (0, -1, 42), (0, 3, 2, -1)])
def test_reshaping_copies_in_vectors(shape: tuple[int, ...]) -> None:
    """However the axes are cut, elements keep their order."""
    op, x = Reshape(shape), TensorType.plain((2, 12, 6, 7))
    node = leaf(Input("x"), np.empty(x.shape), "x")
    kernel = lower_node(Node(op, (node,), op.infer(x), "y"), named_target("x86-64-v3"))
    assert any(isinstance(s, For) and s.kind is Kind.VECTOR for s in walk(kernel.body))
