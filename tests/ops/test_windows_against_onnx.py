"""Every small window against ONNX Runtime, and its rules for padding by name."""

from itertools import product

import numpy as np
import pytest

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm, Reduction
from cnnc.ops.spec import Operator
from tests.ops.by_hand import every_axis, some_planes
from tests.ops.cases import Case, Real
from tests.ops.onnx_batch import OnnxBatch
from tests.ops.onnx_windows import translate_window

RNG = np.random.default_rng(3)
SHAPES = [*((axis,) for axis in every_axis()), *some_planes(200, seed=1)]
INPUTS = {
    shape: RNG.normal(size=(1, 2, *shape))
    for rank in (1, 2)
    for shape in product(range(1, 7), repeat=rank)
}
WEIGHTS = {
    (i, shape): RNG.normal(size=(2, i, *shape))
    for i, rank in product((1, 2), (1, 2))
    for shape in product(range(1, 7), repeat=rank)
}
KINDS: list[tuple[Reduction, bool]] = [
    (Maximum(), False),
    (Average(), False),
    (Average(), True),
    (Norm(2.0), False),
]


class Comparison:
    """References and ONNX Runtime's results, collected and compared all at once."""

    def __init__(self) -> None:
        self.batch = OnnxBatch()
        self.expected: list[tuple[str, Real]] = []

    def add(self, op: Operator, *operands: Real) -> None:
        """An operator, unless cnnc refuses it or ONNX has no such thing."""
        try:
            op.infer(*(TensorType.plain(operand.shape) for operand in operands))
            call = translate_window(Case(op, operands))
        except OpError:
            return  # test_windows_by_hand says which
        if call:
            self.add_call(op, operands, *call)

    def add_call(self, op: Operator, operands: tuple[Real, ...], *call: object) -> None:
        """An operator and what ONNX makes of it."""
        self.batch.add(*call)
        self.expected.append((op.label, op.reference(*operands)))

    def check(self, least: int) -> None:
        """All agree, and there are enough of them."""
        results = self.batch.run()
        assert len(results) >= least
        for (label, expected), y in zip(self.expected, results, strict=True):
            assert y.shape == expected.shape, label
            np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5, err_msg=label)


def window(axes: tuple[object, ...]) -> tuple[tuple[int, ...], tuple[int, ...], Padding]:
    """Kernel, stride and padding as attributes."""
    pad = Padding(explicit=tuple(axis.ends for axis in axes))
    return tuple(a.kernel for a in axes), tuple(a.stride for a in axes), pad


@pytest.mark.parametrize(("kind", "count_pad"), KINDS, ids=["max", "avg", "avg-count_pad", "l2"])
def test_pooling(kind: Reduction, count_pad: bool) -> None:
    several = Comparison()
    for axes in SHAPES:
        dilation = tuple(axis.dilation for axis in axes)
        op = Pool(kind, *window(axes), dilation, axes[0].ceil, count_pad)
        several.add(op, INPUTS[tuple(axis.extent for axis in axes)])
    several.check(least=800)


@pytest.mark.parametrize("operator", [Conv, ConvTranspose])
def test_convolution(operator: type[Conv] | type[ConvTranspose]) -> None:
    several = Comparison()
    for number, axes in enumerate(axes for axes in SHAPES if not axes[0].ceil):
        x = INPUTS[tuple(axis.extent for axis in axes)]
        dilation, groups = tuple(axis.dilation for axis in axes), 1 + number % 2
        kernel, stride, pad = window(axes)
        given = {"dilation": dilation, "groups": groups, "bias": False}
        if operator is ConvTranspose:
            # PyTorch allows as much as the dilation, too; ONNX Runtime does not.
            largest = tuple(axis.stride - 1 for axis in axes)
            given["output_pad"] = largest if number % 3 else (0,)
        several.add(operator(2, kernel, stride, pad, **given), x, WEIGHTS[2 // groups, kernel])
    several.check(least=900)


RULES = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}


@pytest.mark.parametrize("rule", RULES)
def test_padding_by_name(rule: str) -> None:
    """ONNX Runtime works the padding out itself; `auto_pad` of pooling knows no dilation."""
    several, pad = Comparison(), Padding(rule)
    for extent, k, stride in product(range(1, 7), range(1, 6), range(1, 5)):
        x, w = INPUTS[(extent,)], WEIGHTS[2, (k,)]
        given = {"auto_pad": RULES[rule], "kernel_shape": [k], "strides": [stride]}
        # Where windows leave the last elements out, ONNX Runtime refuses to pool, and crops what it
        # convolves; TensorFlow does neither.
        if k <= extent if rule == "valid" else (-(-extent // stride) - 1) * stride + k >= extent:
            conv = Conv(2, (k,), (stride,), pad, bias=False)
            several.add_call(conv, (x, w), "Conv", [x, w], given)
            pool = Pool(Maximum(), (k,), (stride,), pad)
            several.add_call(pool, (x,), "MaxPool", [x], given)
            pool = Pool(Average(), (k,), (stride,), pad)
            several.add_call(pool, (x,), "AveragePool", [x], given)
        if rule != "valid" and k < stride:
            continue  # ONNX asks for extent × stride positions, ONNX Runtime gives fewer
        back = ConvTranspose(2, (k,), (stride,), pad, bias=False)
        several.add_call(back, (x, w), "ConvTranspose", [x, w], given)
    several.check(least=200)
