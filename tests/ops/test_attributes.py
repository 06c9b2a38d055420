"""Kinds of attributes: what they take, refuse and print."""

import pytest

from cnnc.ir.graph import OpError
from cnnc.ops.attributes import (
    Axis,
    Choice,
    Extents,
    Flag,
    Integer,
    Kind,
    Number,
    Padding,
    PaddingKind,
    ShapeKind,
    Symbol,
    Value,
    format_value,
    spread,
)
from cnnc.ops.axes import axis_names, resolve_axis
from cnnc.ops.pool_kinds import Average, Maximum, Norm, ReductionKind, Weighted
from cnnc.ops.pool_weights import Falloff, FalloffKind, Size, Step, WeightsKind

PAIRS = Padding(explicit=((1, 2), (0, 3)))
GOOD: list[tuple[Kind[object], Value, object]] = [
    (Integer(), 3, 3),
    (Integer(), 3.0, 3),
    (Integer(0), 0, 0),
    (Number(), -2, -2.0),
    (Number(above=0), 1e-5, 1e-5),
    (Number(minimum=0, maximum=1), 1, 1.0),
    (Flag(), True, True),
    (Extents(), 3, (3,)),
    (Extents(), (3, 5), (3, 5)),
    (PaddingKind(), 2, Padding(explicit=((2, 2),))),
    (PaddingKind(), (1, 2), Padding(explicit=((1, 1), (2, 2)))),
    (PaddingKind(), ((1, 2), (0, 3)), PAIRS),
    (PaddingKind(), ((1, 2), 3), Padding(explicit=((1, 2), (3, 3)))),
    (PaddingKind(), ((1, 2),), Padding(explicit=((1, 2),))),
    (PaddingKind(), Symbol("causal"), Padding("causal")),
    (Choice(("none", "tanh")), Symbol("tanh"), "tanh"),
    (Axis(), -1, -1),
    (ShapeKind(), (0, -1, 4), (0, -1, 4)),
    (Size(), Symbol("global"), ()),
    (Size(), (2, 3), (2, 3)),
    (Step(), Symbol("size"), ()),
    (ReductionKind(), Symbol("max"), Maximum()),
    (ReductionKind(), Symbol("avg"), Average()),
    (ReductionKind(), Symbol("l2"), Norm(2.0)),
    (ReductionKind(), Symbol("lp", (1.5,)), Norm(1.5)),
    (ReductionKind(), Symbol("weighted"), Weighted()),
    (FalloffKind(), Symbol("gaussian", (2,)), Falloff("gaussian", 2.0)),
    (FalloffKind(), Symbol("inverse"), Falloff("inverse")),
    (WeightsKind(), (1, 2, 1), (1.0, 2.0, 1.0)),
    (WeightsKind(), ((1, 2), (3, 4)), ((1.0, 2.0), (3.0, 4.0))),
    (WeightsKind(), (), ()),
]
BAD: list[tuple[Kind[object], Value]] = [
    (Integer(), 0),
    (Integer(), True),
    (Integer(), 2.5),
    (Integer(), 2**31),
    (Integer(), float("nan")),
    (Integer(), float("inf")),
    (Integer(), "3"),
    (Number(), float("nan")),
    (Number(), float("inf")),
    (Number(above=0), 0),
    (Number(minimum=0, maximum=1), 1.5),
    (Number(), False),
    (Flag(), 1),
    (Extents(), ()),
    (Extents(), (3, 0)),
    (Extents(), ((3,),)),
    (PaddingKind(), -1),
    (PaddingKind(), ()),
    (PaddingKind(), ((1, 2, 3),)),
    (PaddingKind(), 2**20),
    (PaddingKind(), Symbol("full")),
    (PaddingKind(), Symbol("same", (1,))),
    (Choice(("none", "tanh")), "tanh"),
    (Axis(), 1.5),
    (Axis(), 10**6),
    (ShapeKind(), ()),
    (ShapeKind(), 4),
    (ShapeKind(), (-1, -1)),
    (ShapeKind(), (-2, 3)),
    (ReductionKind(), Symbol("max", (2,))),
    (ReductionKind(), Symbol("lp", (True,))),
    (ReductionKind(), Symbol("lp", (float("inf"),))),
    (FalloffKind(), Symbol("gaussian", (-1.0,))),
    (WeightsKind(), (float("inf"), 1)),
    (WeightsKind(), (True, 1)),
    (WeightsKind(), 1.0),
]


@pytest.mark.parametrize(("kind", "value", "field"), GOOD)
def test_a_value_becomes_a_field_and_prints_again(
    kind: Kind[object], value: Value, field: object
) -> None:
    assert kind.parse(value) == field
    assert kind.parse(kind.unparse(field)) == field


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_a_value_that_does_not_fit_is_refused(kind: Kind[object], value: Value) -> None:
    with pytest.raises(OpError) as caught:
        kind.parse(value)
    assert caught.value.why == f"expected {kind.describe()}, found {format_value(value)}"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Number(), "a number"),
        (Number(above=0), "a number > 0"),
        (Number(minimum=0, maximum=1), "a number ≥ 0 and ≤ 1"),
        (Size(), "an integer ≥ 1, or a list with one for each spatial axis, or global"),
    ],
)
def test_descriptions(kind: Kind[object], text: str) -> None:
    assert kind.describe() == text


def test_values_print_as_the_language_writes_them() -> None:
    value = (True, 2, 1.5, "a", Symbol("gaussian", (1.0,)), (Symbol("same"), ()))
    assert format_value(value) == '[true, 2, 1.5, "a", gaussian(1.0), [same, []]]'


def test_spreading_over_the_axes() -> None:
    assert spread((2,), 3, "stride") == (2, 2, 2)
    assert spread((2, 3), 2, "stride") == (2, 3)
    with pytest.raises(OpError, match="2 numbers for 3 spatial axes") as caught:
        spread((2, 3), 3, "stride")
    assert caught.value.at == "stride"


def test_axes() -> None:
    assert [resolve_axis(axis, 4) for axis in (0, 3, -1, -4)] == [0, 3, 3, 0]
    for axis in (4, -5):
        with pytest.raises(OpError, match="no axis") as caught:
            resolve_axis(axis, 4)
        assert caught.value.at == "axis"
    assert [axis_names(rank) for rank in (1, 2, 3, 4)] == [
        ("n",),
        ("n", "c"),
        ("n", "c", "l"),
        ("n", "c", "h", "w"),
    ]
