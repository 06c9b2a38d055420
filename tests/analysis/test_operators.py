"""What operators read, derived from their loops, against their references: element by element."""

import warnings

import numpy as np
import pytest

from cnnc.analysis.dependence import Dependence, Dependences
from cnnc.analysis.region import Region
from cnnc.base.dtype import DType
from cnnc.ir.graph import Constant, Input, Node
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
    types = sample.types
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


def perturbed(sample: Sample, node: Node, place: int) -> np.ndarray:
    """The same pairs, found by changing one element at a time.

    NaN passes through whatever computes with it, so where there are NaNs, one is enough. Integers
    and truth values take several others, on several draws: one may hide the change of another.
    """
    draws = 1 if _passes_nan(node) else 6
    return np.any([_changed(sample, node, place, seed) for seed in range(draws)], axis=0)


def _passes_nan(node: Node) -> bool:
    return all(each.type.dtype.is_float for each in (*node.inputs, node))


def _changed(sample: Sample, node: Node, place: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = [
        _draw(random, each, sample.positive) if each.constant is None else each.constant
        for each in node.inputs
    ]
    others = [np.nan] if _passes_nan(node) else [0, 1, 5, 77]
    operands = [
        np.array(value, _wide(each)) for value, each in zip(values, node.inputs, strict=True)
    ]
    before, rows = _value(node, operands), []
    for index in np.ndindex(*node.inputs[place].type.shape):
        found = np.zeros(node.type.shape, bool)
        for other in others:
            changed = [operand.copy() for operand in operands]
            changed[place][index] = other
            after = _value(node, changed)
            found |= np.isnan(after) if _passes_nan(node) else after != before
        rows.append(found.ravel())
    return np.array(rows)


def _wide(node: Node) -> np.dtype[np.generic]:
    return np.dtype(np.float64) if node.type.dtype.is_float else node.type.dtype.numpy


def _draw(random: np.random.Generator, node: Node, positive: bool) -> np.ndarray:
    if node.type.dtype.is_float:
        draw = random.uniform(0.5, 1.5, node.type.shape)
        return draw if positive else random.normal(0, 1, node.type.shape)
    return random.integers(0, 2 if node.type.dtype is DType.BOOL else 9, node.type.shape)


def _value(node: Node, operands: list[np.ndarray]) -> np.ndarray:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return node.op.reference(*operands)


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
        expected = perturbed(sample, node, place)
        found = listed(dependence, place)
        assert not (expected & ~found).any()
        if _passes_nan(node):  # otherwise a change may show in no result: the only one is largest
            np.testing.assert_array_equal(found, expected)
        assert dependence.pairs(place) == np.count_nonzero(found)
        checked += 1
    assert checked or node.type.elements > 1000
