"""What operators say about operands and attributes that do not fit."""

from dataclasses import replace

import numpy as np
import pytest

from cnnc.base.dtype import DType
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.activations.clip import Clip
from cnnc.ops.activations.relu import Relu
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.div import Div
from cnnc.ops.attributes import Padding
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.concat import Concat
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.dense import Dense
from cnnc.ops.flatten import Flatten
from cnnc.ops.identity import Identity
from cnnc.ops.normalisation.group_norm import GroupNorm
from cnnc.ops.normalisation.instance_norm import InstanceNorm
from cnnc.ops.normalisation.layer_norm import LayerNorm
from cnnc.ops.normalisation.lrn import Lrn
from cnnc.ops.preprocess import Preprocess
from cnnc.ops.reductions.arg import ArgMax
from cnnc.ops.reductions.matmul import MatMul
from cnnc.ops.reductions.reduce import Reduce
from cnnc.ops.reductions.reduce_kinds import KINDS
from cnnc.ops.reshape import Reshape
from cnnc.ops.softmax import Softmax
from cnnc.ops.spec import Operator
from cnnc.ops.unshared import Unshared
from tests.ops.evaluate_loops import run_loops

Shape = tuple[int, ...]


def refusal(op: Operator, *shapes: Shape) -> OpError:
    """The error of an operator on operands of these shapes."""
    types = [TensorType.plain(shape) for shape in shapes]
    with pytest.raises(OpError) as caught:
        op.infer(*types, *(spec.type for spec in op.parameters(*types)))
    return caught.value


@pytest.mark.parametrize(
    ("op", "shapes", "at", "note"),
    [
        (
            Add(),
            [(2, 3, 5), (2, 4, 5)],
            1,
            "axis 1: 4 against 3 in [2, 3, 5] and [2, 4, 5]",
        ),
        (Conv(4, (3,)), [(2, 3)], 0, "its shape is [2, 3]; conv needs [N, C, length] or more"),
        (Conv(4, (3,), groups=2), [(2, 3, 9)], "groups", "3 = 1 × 2 + 1"),
        (Conv(5, (3,), groups=2), [(2, 4, 9)], "groups", "5 = 2 × 2 + 1"),
        (Conv(4, (3, 3)), [(2, 3, 9)], "kernel", None),
        (Conv(4, (3,), stride=(1, 2)), [(2, 3, 9)], "stride", None),
        (Conv(4, (3,), pad=Padding(explicit=((1, 1), (1, 1)))), [(2, 3, 9)], "pad", None),
        (Unshared(4, (3,), groups=2), [(2, 3, 9)], "groups", "3 = 1 × 2 + 1"),
        (Unshared(4, (3,)), [(2, 3, 2)], "kernel", None),
        (ConvTranspose(4, (3,), groups=2), [(2, 3, 9)], "groups", "3 = 1 × 2 + 1"),
        (
            ConvTranspose(4, (3,)),
            [(2, 3)],
            0,
            "its shape is [2, 3]; conv_transpose needs [N, C, length] or more",
        ),
        (
            ConvTranspose(4, (3,), (2,), Padding(explicit=((3, 2),))),
            [(2, 3, 2)],
            "pad",
            "spatial axis 0: (2 - 1) × 2 + 3 + 0 = 5, less 3 + 2",
        ),
        (
            ConvTranspose(4, (3,), (2,), output_pad=(2,)),
            [(2, 3, 2)],
            "output_pad",
            "spatial axis 0: 2, stride 2, dilation 1",
        ),
        (
            ConvTranspose(4, (3,), (2,), Padding("same"), (1,)),
            [(2, 3, 2)],
            "output_pad",
            "`same` gives extent × stride positions",
        ),
        (ConvTranspose(4, (3,), output_pad=(0, 0)), [(2, 3, 2)], "output_pad", None),
        (
            ConvTranspose(1, (1,), (2**31 - 1,)),
            [(1, 1, 9)],
            "stride",
            "1 × 17179869177 = 17179869177 elements of each channel, the limit is 4294967296",
        ),
        (Dense(4), [(2, 3, 5, 5)], 0, "its shape is [2, 3, 5, 5]"),
        (BatchNorm(), [(3,)], 0, "its shape is [3]"),
        (
            InstanceNorm(),
            [(2, 3)],
            0,
            "its shape is [2, 3]; instance_norm needs [N, C, length] or more",
        ),
        (GroupNorm(2), [(2, 3, 4)], "groups", "3 = 1 × 2 + 1"),
        (GroupNorm(1), [(2,)], 0, "its shape is [2]"),
        (LayerNorm((2,)), [(2, 3)], "axes", "the operand has 2 axes"),
        (LayerNorm((1, -1)), [(2, 3)], "axes", None),
        (LayerNorm((0, 1)), [(2, 3)], "axes", "samples do not depend on each other"),
        (Lrn(3), [(2,)], 0, "its shape is [2]"),
        (Softmax(2), [(2, 3)], "axis", "the operand has 2 axes"),
        (Reduce(KINDS["sum"], (2,)), [(2, 3)], "axes", "the operand has 2 axes"),
        (Reduce(KINDS["max"], (1, -1)), [(2, 3)], "axes", None),
        (Reduce(KINDS["mean"], (0, 1)), [(2, 3)], "axes", None),
        (ArgMax(3), [(2, 3)], "axis", "the operand has 2 axes"),
        (ArgMax(0), [(5,)], "axis", None),
        (MatMul(), [(2, 3), (4, 5)], 1, "[2, 3] times [4, 5]"),
        (MatMul(), [(2, 3), (3,)], 1, "its shape is [3]"),
        (MatMul(), [(2, 4, 3), (3, 3, 4)], 1, "axis 0: 3 against 2 in [2] and [3]"),
        (Preprocess("nlc"), [(2, 5, 5, 3)], "layout", None),
        (Preprocess(colors="bgr"), [(2, 4, 5)], "colors", None),
        (Preprocess(mean=(1.0, 2.0)), [(2, 3, 5)], "mean", "mean = [1.0, 2.0]"),
        (Preprocess(scale=1e30, std=(1e-30,)), [(2, 3, 5)], "scale", None),
        (Preprocess(), [(2,)], 0, "its shape is [2]"),
        (Concat(3), [(2, 3), (2, 3)], "axis", "the operand has 2 axes"),
        (Concat(), [(2, 3, 4), (2, 1, 4), (2, 3, 5)], 2, "[2, 3, 5] against [2, 3, 4]"),
        (Concat(), [(2, 3), (2, 3, 1)], 1, "[2, 3, 1] against [2, 3]"),
        (Reshape((2, 7)), [(2, 3, 2)], "shape", "2 × 3 × 2 = 12, but 2 × 7 = 14"),
        (
            Reshape((0, 5, -1)),
            [(2, 3, 4)],
            "shape",
            "2 × 3 × 4 = 24, but 2 × 5 = 10 leaves -1 no whole number, 24 / 10",
        ),
        (Reshape((2, 3, 0)), [(2, 3)], "shape", "the operand's shape is [2, 3]"),
        (Clip(1.0, 0.0), [(2, 3)], "high", "low is 1, high is 0"),
    ],
    ids=lambda value: value.label if isinstance(value, Operator) else "",
)
def test_shapes_and_attributes(
    op: Operator, shapes: list[Shape], at: int | str, note: str | None
) -> None:
    error = refusal(op, *shapes)
    assert error.at == at
    assert note is None or error.note == note
    assert error.why
    assert not error.why.endswith(".")


def test_dense_says_to_flatten_first() -> None:
    assert refusal(Dense(4), (2, 3, 5)).help == "flatten first: -> flatten -> dense"


def test_element_types_must_agree() -> None:
    f32, f64 = TensorType.plain((2, 3)), TensorType.plain((2, 3), DType.F64)
    for op in (Add(), Div(), Concat()):
        with pytest.raises(OpError, match="f32 and f64") as caught:
            op.infer(f32, f64)
        assert caught.value.at == 1


@pytest.mark.parametrize(
    "op",
    [
        *(Relu(), Softmax(), Dense(2), BatchNorm(), Conv(2, (1,))),
        *(Reduce(KINDS["sum"], (1,)), ArgMax()),
    ],
)
def test_arithmetic_needs_floating_point(op: Operator) -> None:
    shape = (2, 3, 4) if isinstance(op, Conv) else (2, 3)
    x = TensorType.plain(shape, DType.U8)
    with pytest.raises(OpError, match="floating point") as caught:
        op.infer(x, *(spec.type for spec in op.parameters(x)))
    assert caught.value.at == 0


@pytest.mark.parametrize("op", [Identity(), Flatten(), Reshape((0, -1))])
def test_moving_takes_any_element_type(op: Operator) -> None:
    x = np.arange(12, dtype=np.int32).reshape(2, 3, 2)
    result = op.infer(TensorType.plain(x.shape, DType.I32))
    assert result.dtype is DType.I32
    assert np.array_equal(run_loops(op, [x]), op.reference(x))


def test_parameters_must_be_as_asked_for() -> None:
    op, x = Conv(4, (3,)), TensorType.plain((1, 2, 9))
    weight, bias = (spec.type for spec in op.parameters(x))
    with pytest.raises(OpError, match=r"f32\[4, 2, 3\]") as caught:
        op.infer(x, replace(weight, shape=(4, 3, 2)), bias)
    assert caught.value.at == 1
    with pytest.raises(OpError, match="takes 2 parameters, not 1"):
        op.infer(x, weight)


def test_mixing_the_batch() -> None:
    batched, lower = TensorType.plain((3, 3, 5)), TensorType.plain((3, 5))
    assert Add().mixes_batch(batched, lower)
    assert not Add().mixes_batch(batched, batched)
    assert not Add().mixes_batch(batched, TensorType.plain(()))
    assert Softmax(-3).mixes_batch(batched)
    assert not Softmax(-1).mixes_batch(batched)
    assert Concat(0).mixes_batch(batched, batched)
    assert Reshape((9, 5)).mixes_batch(batched)
    assert not Reshape((0, 5, 3)).mixes_batch(batched)


def test_blocks_of_channels() -> None:
    """Vectors run along channels wherever a block belongs to one operand."""
    whole, ragged = TensorType.plain((1, 32, 4, 4)), TensorType.plain((1, 20, 4, 4))
    assert Concat().blocking(16, whole, whole).writes == 16
    assert Concat().blocking(16, ragged, whole).writes == 1
    assert Concat().blocking(16, whole, ragged).writes == 16  # the last one may end within a block
    assert Concat(2).blocking(16, ragged, ragged).follows
    assert Flatten().blocking(16, TensorType.plain((1, 20, 1, 1))).follows
    assert Flatten().blocking(16, whole).writes == 1
