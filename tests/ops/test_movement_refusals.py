"""What operators that move elements say about operands and attributes that do not fit."""

import numpy as np
import pytest

from cnnc.base.dtype import DType
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Padding, Symbol
from cnnc.ops.movement.depth_to_space import DepthToSpace
from cnnc.ops.movement.pad import Mode, Pad
from cnnc.ops.movement.resize import Resize
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.space_to_depth import SpaceToDepth
from cnnc.ops.movement.split import Split
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.spec import Composite, Named, Operator
from tests.ops.evaluate_loops import run_loops

Shape = tuple[int, ...]
ONE = Padding(explicit=((1, 1),))


def refusal(op: Named, shape: Shape) -> OpError:
    """The error of an operator on an operand of this shape."""
    x = TensorType.plain(shape)
    with pytest.raises(OpError) as caught:
        apply(op, x)
    return caught.value


def apply(op: Named, x: TensorType) -> None:
    """Types of the results."""
    if isinstance(op, Composite):
        op.expand(x)
    else:
        assert isinstance(op, Operator)
        op.infer(x, *(spec.type for spec in op.parameters(x)))


@pytest.mark.parametrize(
    ("op", "shape", "at", "note"),
    [
        (Slice((2,)), (2, 3), "axis", "the operand has 2 axes"),
        (Slice((1, -1)), (2, 3), "axis", None),
        (Slice((1,), (3,)), (2, 3), "begin", "axis 1 has 3 elements, none of them in 3::1"),
        (Slice((1,), (2,), (-1,)), (2, 3), "end", "axis 1 has 3 elements, none of them in 2:-1:1"),
        (Slice((1,), (None,), (2,), (-1,)), (2, 3), "end", None),
        (Slice((0, 1), (0, 0, 0)), (2, 3), "begin", None),
        (Slice((0, 1), end=(1, 2, 3)), (2, 3), "end", None),
        (Slice((0, 1, 2), step=(1, 2)), (2, 3, 4), "step", None),
        (Split(2, axis=2), (2, 3), "axis", "the operand has 2 axes"),
        (Split(2), (2, 5), "parts", "5 = 2 × 2 + 1"),
        (Split(7), (2, 5), "parts", "5 = 0 × 7 + 5"),
        (Split((2, 2)), (2, 5), "parts", "2 + 2 = 4, axis 1 has 5"),
        (Pad(ONE), (2, 3), 0, "its shape is [2, 3]; pad needs [N, C, length] or more"),
        (Pad(Padding(explicit=((1, 1), (1, 1)))), (2, 3, 4), "pad", None),
        (
            Pad(ONE, Mode("reflect")),
            (2, 3, 4, 1),
            "pad",
            "spatial axis 1 has 1 elements, enough for a padding of 0; it is to be 1",
        ),
        (Pad(Padding(explicit=((5, 0),)), Mode("wrap")), (2, 3, 4), "pad", None),
        (Pad(ONE, Mode("constant", 1e300)), (2, 3, 4), "mode", None),
        (Pad(Padding(explicit=((2**19, 0),))), (2**10, 2**10, 1), "pad", None),
        (Transpose((0, 2, 1)), (2, 3), "order", "the operand's shape is [2, 3]"),
        (Resize("nearest"), (2, 3, 4), "scale", None),
        (Resize("nearest", (2.0,), (3,)), (2, 3, 4), "size", None),
        (Resize("nearest", (2.0, 2.0)), (2, 3, 4), "scale", None),
        (Resize("nearest", (), (2, 2)), (2, 3, 4), "size", None),
        (Resize("nearest", (2.0,)), (2, 3), 0, None),
        (
            Resize("nearest", (0.2,)),
            (2, 3, 4),
            "scale",
            "spatial axis 0: 4 elements times 0.2 is 0.8, and may be from 1 to 16777216",
        ),
        (Resize("linear", (2.0,), rounding="ceil"), (2, 3, 4), "rounding", None),
        (Resize("linear", (2.0,), coefficient=-0.5), (2, 3, 4), "coefficient", None),
        (Resize("nearest", (2.0,), exclude_outside=True), (2, 3, 4), "exclude_outside", None),
        (Resize("nearest", (2.0**20,)), (2, 3, 17), "scale", None),
        (Resize("cubic", (2.0**20,)), (2, 3, 16), "mode", None),
        (
            Resize(
                "cubic", (2.0,), coordinates="asymmetric", coefficient=4.0, exclude_outside=True
            ),
            (2, 3, 1),
            "exclude_outside",
            None,
        ),
        (DepthToSpace((2,)), (2, 8), 0, None),
        (DepthToSpace((2,)), (2, 6, 4, 4), "block", "6 = 1 × 4 + 2"),
        (DepthToSpace((2, 2)), (2, 4, 4), "block", None),
        (SpaceToDepth((2,)), (2, 3, 4, 5), "block", "5 = 2 × 2 + 1"),
    ],
    ids=lambda value: value.label if isinstance(value, Named) else "",
)
def test_shapes_and_attributes(op: Named, shape: Shape, at: int | str, note: str | None) -> None:
    error = refusal(op, shape)
    assert error.at == at
    assert note is None or error.note == note
    assert error.why
    assert not error.why.endswith(".")


@pytest.mark.parametrize(
    ("op", "name", "value"),
    [
        (Slice, "axis", ()),
        (Slice, "axis", 1.5),
        (Slice, "begin", Symbol("first")),
        (Slice, "end", ()),
        (Slice, "step", (1, 0)),
        (Split, "parts", 0),
        (Split, "parts", ()),
        (Pad, "pad", Symbol("same")),
        (Pad, "mode", Symbol("constant", (Symbol("x"),))),
        (Pad, "mode", Symbol("edge", (1,))),
        (Transpose, "order", (1, 2)),
        (Transpose, "order", 1),
        (Resize, "scale", 0),
        (Resize, "scale", (1, Symbol("x"))),
        (Resize, "size", (0, 1)),
    ],
)
def test_values_that_are_not_understood(op: type[Named], name: str, value: object) -> None:
    attribute = next(each for each in op.attributes() if each.name == name)
    with pytest.raises(OpError, match="expected"):
        attribute.kind.parse(value)  # type: ignore[arg-type]


def test_negative_padding_is_a_slice() -> None:
    kind = Pad.attributes()[0].kind
    for value in (-1, (1, -1), ((0, -2),)):
        with pytest.raises(OpError) as caught:
            kind.parse(value)
        assert "slice" in (caught.value.help or "")


MOVING = [
    Slice((2,), step=(-2,)),
    Pad(ONE, Mode("constant", 3.0)),
    Pad(ONE, Mode("reflect")),
    Transpose((0, 2, 1)),
    Resize("nearest", (1.5,)),
    DepthToSpace((2,)),
    SpaceToDepth((2,)),
]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64], ids=lambda each: each.__name__)
@pytest.mark.parametrize("op", MOVING, ids=lambda op: op.label)
def test_moving_takes_any_element_type(op: Operator, dtype: type) -> None:
    x = np.arange(16, dtype=dtype).reshape(2, 2, 4)
    result = op.infer(TensorType.plain(x.shape, DType.of(dtype)))
    assert result.dtype is DType.of(dtype)
    assert np.array_equal(run_loops(op, [x]), op.reference(x))


def test_a_constant_must_be_an_element() -> None:
    for value, dtype in ((256.0, DType.U8), (-1.0, DType.U8), (0.5, DType.I32), (2.0, DType.BOOL)):
        with pytest.raises(OpError, match="is no") as caught:
            Pad(ONE, Mode("constant", value)).infer(TensorType.plain((1, 1, 2), dtype))
        assert caught.value.at == "mode"
    for value, dtype in ((255.0, DType.U8), (-(2.0**31), DType.I32), (1.0, DType.BOOL)):
        Pad(ONE, Mode("constant", value)).infer(TensorType.plain((1, 1, 2), dtype))


def test_interpolation_needs_floating_point() -> None:
    with pytest.raises(OpError, match="floating point"):
        Resize("linear", (2.0,)).infer(TensorType.plain((1, 1, 2), DType.U8))


def test_mixing_the_batch() -> None:
    x = TensorType.plain((4, 4, 4))
    assert Slice((0,), (1,)).mixes_batch(x)
    assert not Slice((0, 1), (0, 1)).mixes_batch(x)
    assert Transpose((1, 0, 2)).mixes_batch(x)
    assert not Transpose((0, 2, 1)).mixes_batch(x)
    assert all(part.mixes_batch(x) for part in Split(2, axis=0).expand(x))
    assert not any(part.mixes_batch(x) for part in Split(2).expand(x))
