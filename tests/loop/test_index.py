"""Index expressions keep their value: built, simplified, collected and bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnc.base.dtype import DType
from cnnc.loop.affine import affine, simplify
from cnnc.loop.build import maximum, minimum
from cnnc.loop.expr import Binary, Const, Expr, Var, binary, children
from cnnc.loop.interval import bounds
from cnnc.loop.rewrite import with_children
from cnnc.loop.text import print_expr
from tests.loop.indices import RANGES, Plan, build, compute, plans, points, value_at

A, B = Var("a"), Var("b")


@given(plans, points)
def test_constructors_keep_the_value(plan: Plan, point: dict[str, int]) -> None:
    assert value_at(build(plan), point) == compute(plan, point)


def rebuilt(expr: Expr) -> Expr:
    """The expression made anew from its parts."""
    match expr:
        case Binary(op, left, right):
            return binary(op, rebuilt(left), rebuilt(right))
    return expr


@given(plans)
def test_building_again_changes_nothing(plan: Plan) -> None:
    expr = build(plan)
    assert rebuilt(expr) == expr
    assert with_children(expr, children(expr)) is expr


@given(plans, points)
def test_simplify_keeps_the_value_within_the_ranges(plan: Plan, point: dict[str, int]) -> None:
    simple = simplify(build(plan), RANGES)
    assert value_at(simple, point) == compute(plan, point)


@given(plans, points, st.integers(1, 9), st.integers(1, 9), st.integers(-3, 3))
def test_quotients_and_remainders_join(
    plan: Plan, point: dict[str, int], divisor: int, more: int, scale: int
) -> None:
    """As in the place of an element of a reshaped tensor."""
    value, expr = compute(plan, point), build(plan)
    place = expr // (divisor * more) * more + expr // divisor % more
    simple = simplify((place * divisor + expr % divisor) * scale, RANGES)
    assert value_at(simple, point) == value * scale


@given(plans, points)
def test_affine_keeps_the_value(plan: Plan, point: dict[str, int]) -> None:
    form = affine(build(plan))
    assert value_at(form.expr(), point) == compute(plan, point)
    total = sum(factor * value_at(term, point) for term, factor in form.terms)
    assert total + form.constant == compute(plan, point)


@given(plans, points)
def test_bounds_hold(plan: Plan, point: dict[str, int]) -> None:
    low, high = bounds(build(plan), RANGES)
    assert low <= compute(plan, point) <= high


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (A + (B + 1), "a + b + 1"),
        (A - 1 + B, "a + b - 1"),
        (A - (B - 3), "a - b + 3"),
        (2 * A * 3, "a * 6"),
        (A + 0 + B * 0, "a"),
        ((A + 2) - 2, "a"),
        (-A, "a * -1"),
        (A * 4 // 1 % 1, "0"),
        (maximum(A - 1, 0), "max(a - 1, 0)"),
    ],
)
def test_sums_have_one_shape(expr: Expr, text: str) -> None:
    assert print_expr(expr) == text


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        ((A * 16 + B) // 16, "a"),
        ((A * 16 + B) % 16, "b"),
        ((A * 8 + B + 16) // 8, "a + 2"),
        ((A * 32 + B) // 64, "a // 2"),
        ((A * 4 + B) // 3, "(a * 4 + b) // 3"),
        (minimum(A, 7), "a"),
        (maximum(A * 2, A - 1), "max(a * 2, a - 1)"),
        (A + B - A, "b"),
        ((A * 5 + B) // 4 * 8 + (A * 5 + B) % 4 * 2 + 1, "a * 10 + b * 2 + 1"),
        ((A * 5 + B) // 3 % 4 * 3 + (A * 5 + B) % 3, "(a * 5 + b) % 12"),
        ((A * 5 + B) // 4 * 8 + (A * 5 + B) % 4, "(a * 5 + b) // 4 * 8 + (a * 5 + b) % 4"),
    ],
)
def test_simplify_divides_as_far_as_the_ranges_allow(expr: Expr, text: str) -> None:
    assert print_expr(simplify(expr, RANGES)) == text


def test_values_are_left_as_written() -> None:
    x = Const(1.0, DType.F32)
    assert x + 0.0 == Binary("add", x, Const(0.0, DType.F32))
    assert x * 0.0 == Binary("mul", x, Const(0.0, DType.F32))
