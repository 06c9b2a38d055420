"""What operators read, derived from their loops, against their references: element by element."""

import numpy as np
import pytest

from cnnc.analysis.dependence import Dependence, Dependences
from cnnc.analysis.region import Region
from cnnc.ir.graph import Constant, Input, Node
from cnnc.ir.types import TensorType
from cnnc.ops.spec import Operator, Sample, operators

MOST_PAIRS = 1 << 20
SAMPLES = [
    sample
    for kind in operators()
    if issubclass(kind, Operator)
    for sample in kind.samples()
    if all(len(shape) > 0 for shape in sample.shapes)
]


def node_of(sample: Sample) -> Node:
    """The operator on inputs, with constants for parameters."""
    op = sample.op
    assert isinstance(op, Operator)
    types = [TensorType.plain(shape) for shape in sample.shapes]
    data = [Node(Input(f"x{place}"), (), type, f"x{place}") for place, type in enumerate(types)]
    random = np.random.default_rng(0)
    constants = []
    for spec in op.parameters(*types):
        value = random.uniform(0.5, 1, spec.type.shape) if spec.value is None else spec.value
        constants.append(Node(Constant(value), (), spec.type, f"op.{spec.name}"))
    inputs = (*data, *constants)
    return Node(op, inputs, op.infer(*(each.type for each in inputs)), "op")


def listed(dependence: Dependence, place: int) -> np.ndarray:
    """Pairs [element of the operand, element of the result] of the derived relation."""
    shape, out = dependence.inputs[place].shape, dependence.out.shape
    rows = []
    for index in np.ndindex(*shape):
        point = Region.box(shape, [slice(i, i + 1) for i in index])
        rows.append(point.readers(dependence.operands[place], out).mask().ravel())
    return np.array(rows)


def perturbed(node: Node, place: int) -> np.ndarray:
    """The same pairs, found by setting one element to NaN at a time."""
    random = np.random.default_rng(1)
    values = [
        random.normal(0, 1, each.type.shape) if each.constant is None else each.constant
        for each in node.inputs
    ]
    rows = []
    for index in np.ndindex(*node.inputs[place].type.shape):
        changed = [np.array(value, np.float64) for value in values]
        changed[place][index] = np.nan
        with np.errstate(all="ignore"):
            rows.append(np.isnan(node.op.reference(*changed)).ravel())
    return np.array(rows)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s.op.label}{list(s.shapes)}")
def test_operators_read_what_their_references_read(sample: Sample) -> None:
    """Every operator of the language, all its samples, every data operand."""
    node = node_of(sample)
    dependence = Dependences().of(node)
    assert dependence.is_exact
    checked = 0
    for place, shape in enumerate(sample.shapes):
        if np.prod(shape) * node.type.elements > MOST_PAIRS:
            continue
        expected = perturbed(node, place)
        np.testing.assert_array_equal(listed(dependence, place), expected)
        assert dependence.pairs(place) == np.count_nonzero(expected)
        checked += 1
    assert checked or node.type.elements > 1000
