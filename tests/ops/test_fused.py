"""An operator with a pointwise tail is the same as the operators one after the other."""

import numpy as np
import pytest

from cnnc.base.dtype import DType
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.activations.gelu import Gelu
from cnnc.ops.activations.hardswish import Hardswish
from cnnc.ops.activations.leaky_relu import LeakyRelu
from cnnc.ops.activations.relu import Relu
from cnnc.ops.activations.sigmoid import Sigmoid
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.div import Div
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.arithmetic.sub import Sub
from cnnc.ops.attributes import Padding
from cnnc.ops.cast import Cast
from cnnc.ops.concat import Concat
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.dense import Dense
from cnnc.ops.fused import Earlier, Extra, Fused, TailStep
from cnnc.ops.normalisation.group_norm import GroupNorm
from cnnc.ops.normalisation.instance_norm import InstanceNorm
from cnnc.ops.normalisation.layer_norm import LayerNorm
from cnnc.ops.normalisation.lrn import Lrn
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Weighted
from cnnc.ops.preprocess import Preprocess
from cnnc.ops.reductions.arg import ArgMax
from cnnc.ops.softmax import Softmax
from cnnc.ops.spec import Operator
from cnnc.ops.unshared import Unshared
from tests.ops.cases import Case, Real, make_case
from tests.ops.evaluate_loops import run_loops

SAME = Padding("same")
ROOT, FIRST, SECOND = Earlier(0), Earlier(1), Earlier(2)


def step(op: Pointwise, *args: Earlier | Extra) -> TailStep:
    """One step of a tail."""
    return TailStep(op, args)


RESIDUAL = (step(Add(), ROOT, Extra(0)), step(Relu(), FIRST))
SWISH = (step(Sigmoid(), ROOT), step(Mul(), ROOT, FIRST))
CHAIN = (
    step(LeakyRelu(0.1), ROOT),
    step(Sub(), Extra(0), FIRST),
    step(Div(), SECOND, Extra(1)),
    step(Hardswish(), Earlier(3)),
    step(Add(), Earlier(4), ROOT, Extra(0)),
)
Shapes = list[tuple[int, ...]]
TAILED: list[tuple[Operator, Shapes, tuple[TailStep, ...], Shapes]] = [
    (Conv(5, (3,), pad=SAME), [(2, 3, 7, 6)], RESIDUAL, [(2, 5, 7, 6)]),
    (Conv(6, (3,), groups=6, pad=SAME), [(2, 6, 9)], SWISH, []),
    (Conv(4, (1,), bias=False), [(1, 3, 5, 4)], CHAIN, [(4, 1, 1), (1, 1, 5, 1)]),
    (ConvTranspose(5, (3,), (2,), SAME), [(2, 3, 4, 3)], RESIDUAL, [(2, 5, 8, 6)]),
    (ConvTranspose(2, (5,), (9,), dilation=(7,)), [(1, 2, 2, 3)], SWISH, []),
    (Unshared(5, (3,), pad=SAME), [(2, 3, 4, 5)], CHAIN, [(5, 1, 1), (1, 1, 4, 1)]),
    (Dense(7), [(3, 5)], (step(Gelu(), ROOT),), []),
    (Pool(Maximum(), (3,), (2,), SAME), [(2, 3, 7, 6)], RESIDUAL, [(2, 3, 1, 1)]),
    (Pool(Average(), (3,), (2,), SAME), [(2, 3, 7)], SWISH, []),
    (Pool(Weighted(), (3,), (1,), SAME, weights=(1.0, 2.0, 1.0)), [(1, 2, 6)], SWISH, []),
    (Add(), [(2, 3, 4), (2, 3, 4)], CHAIN, [(1,), (2, 3, 1)]),
    (Concat(), [(2, 3, 4), (2, 1, 4)], RESIDUAL, [(1, 4, 1)]),
    (InstanceNorm(), [(2, 3, 7, 6)], RESIDUAL, [(2, 3, 7, 6)]),
    (GroupNorm(2), [(2, 4, 6)], SWISH, []),
    (LayerNorm((1,)), [(2, 5, 3, 4)], CHAIN, [(5, 1, 1), (1, 1, 3, 1)]),
    (Lrn(3), [(2, 5, 4)], RESIDUAL, [(2, 5, 4)]),
    (Softmax(), [(2, 5, 3)], (step(Mul(), ROOT, Extra(0)),), [(5, 1)]),
]


def fuse(
    root: Operator, shapes: Shapes, tail: tuple[TailStep, ...], extras: Shapes
) -> tuple[Fused, Case]:
    """The fused operator and its operands; extra operands are kept from zero, as divisors."""
    inner = make_case(root, shapes)
    rng = np.random.default_rng(8)
    more = [rng.uniform(0.5, 2, shape).astype(np.float32).astype(np.float64) for shape in extras]
    op = Fused(root, len(inner.operands), tail)
    return op, Case(op, (*inner.operands, *more))


def one_after_the_other(op: Fused, operands: tuple[Real, ...]) -> Real:
    """The root's reference, then each step's."""
    extras = operands[op.root_arity :]
    values = [op.root.reference(*operands[: op.root_arity])]
    for each in op.tail:
        picked = [
            values[arg.step] if isinstance(arg, Earlier) else extras[arg.operand]
            for arg in each.args
        ]
        values.append(each.op.reference(*picked))
    return values[-1]


every_tail = pytest.mark.parametrize(
    ("op", "case"), [fuse(*each) for each in TAILED], ids=[each[0].label for each in TAILED]
)


@every_tail
def test_reference_is_the_composition(op: Fused, case: Case) -> None:
    assert op.infer(*case.types).shape == op.root.infer(*case.types[: op.root_arity]).shape
    expected = one_after_the_other(op, case.operands)
    np.testing.assert_array_equal(op.reference(*case.operands), expected)


@every_tail
@pytest.mark.parametrize("halo", [False, True], ids=["tested", "halo"])
def test_loops_compute_the_reference(op: Fused, case: Case, halo: bool) -> None:
    value = run_loops(op, case.operands, halo=halo)
    np.testing.assert_allclose(value, op.reference(*case.operands), rtol=1e-11, atol=1e-13)


@every_tail
def test_float32_stays_within_the_error_bound(op: Fused, case: Case) -> None:
    exact = op.reference(*case.operands)
    value = run_loops(op, [operand.astype(np.float32) for operand in case.operands])
    zeros = [np.zeros_like(operand) for operand in case.operands]
    bound = op.error(2.0**-24, exact, case.operands, zeros)
    error = np.abs(value - exact)
    assert np.all(error <= bound)
    assert bound.mean() <= 1000 * error.mean() + 2.0**-24 * np.abs(exact).mean()


def test_the_root_answers_for_halo_blocks_and_macs() -> None:
    op, case = fuse(*TAILED[0])
    root, types = op.root, case.types[: op.root_arity]
    out = op.infer(*case.types)
    assert op.halo(*case.types) == root.halo(*types)
    assert op.blocking(16, *case.types) == root.blocking(16, *types)
    assert op.packing(16, 16, *case.types) == root.packing(16, 16, *types)
    assert op.macs(out, *case.types) == root.macs(out, *types) == 2 * 5 * 7 * 6 * 3 * 9


def test_the_label_shows_the_tail() -> None:
    op, _ = fuse(*TAILED[0])
    text = "fused[3: conv(channels=5, kernel=3, pad=same); add{%0, $0}; relu{%1}]"
    assert op.label == text


def test_a_tail_may_not_widen_the_result() -> None:
    op = Fused(Relu(), 1, (step(Add(), ROOT, Extra(0)),))
    with pytest.raises(OpError, match="add"):
        op.infer(TensorType.plain((2, 3, 1)), TensorType.plain((2, 3, 4)))


def test_extra_operands_of_lower_rank_mix_the_batch() -> None:
    """Whoever splits a batch asks the fused operator as it would ask its steps."""
    op = Fused(Relu(), 1, (step(Add(), ROOT, Extra(0)),))
    x = TensorType.plain((2, 2, 3))
    assert op.mixes_batch(x, TensorType.plain((2, 3)))
    assert not op.mixes_batch(x, TensorType.plain((2, 1, 3)))


def test_integers_between_steps_are_exact() -> None:
    op = Fused(ArgMax(1), 1, (TailStep(Cast(DType.BOOL), (ROOT,)),))
    x = np.array([[3.0, 1.0], [1.0, 3.0]])
    out = op.reference(x)
    np.testing.assert_array_equal(out, [False, True])
    np.testing.assert_array_equal(op.error(2.0**-24, out, [x], [np.zeros(x.shape)]), [0, 0])


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_preprocess_computes_in_floating_point_before_a_cast(scale: float) -> None:
    root = Preprocess(scale=scale)
    x = np.array([[[300.0, -7.0, 255.0, 6.0]]]).astype(np.int32)
    fixed = [np.full(1, scale, np.float32), np.zeros(1, np.float32)] if root.computes else []
    op = Fused(root, 1 + len(fixed), (TailStep(Cast(DType.U8), (ROOT,)),))
    np.testing.assert_array_equal(run_loops(op, [x, *fixed]), op.reference(x, *fixed))
