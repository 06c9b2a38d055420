"""Random index expressions."""

from collections.abc import Callable

from hypothesis import strategies as st

from cnnc.loop.expr import Const, Expr, Var, binary
from cnnc.loop.interval import Range, bounds

EXTENTS = {"a": 3, "b": 5, "c.0": 2, "c.1": 4}
RANGES: dict[str, Range] = {name: (0, extent - 1) for name, extent in EXTENTS.items()}
PYTHON: dict[str, Callable[[int, int], int]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "floordiv": lambda x, y: x // y,
    "mod": lambda x, y: x % y,
    "min": min,
    "max": max,
}

Plan = int | str | tuple[str, "Plan", "Plan"]
"""An expression before it is built: a constant, a variable, or an operation."""


def _operations(parts: st.SearchStrategy[Plan]) -> st.SearchStrategy[Plan]:
    constant, divisor = st.integers(-6, 6), st.integers(1, 12)
    return st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "min", "max"]), parts, parts),
        st.tuples(st.just("mul"), parts, constant),
        st.tuples(st.just("mul"), constant, parts),
        st.tuples(st.sampled_from(["floordiv", "mod"]), parts, divisor),
    )


plans: st.SearchStrategy[Plan] = st.recursive(
    st.one_of(st.integers(-9, 20), st.sampled_from(sorted(EXTENTS))), _operations, max_leaves=12
)
points = st.fixed_dictionaries({name: st.integers(0, n - 1) for name, n in EXTENTS.items()})


def build(plan: Plan) -> Expr:
    """The expression by the constructors."""
    match plan:
        case int():
            return Const(plan)
        case str():
            return Var(plan)
        case (op, left, right):
            return binary(op, build(left), build(right))


def compute(plan: Plan, point: dict[str, int]) -> int:
    """The value by Python's arithmetic."""
    match plan:
        case int():
            return plan
        case str():
            return point[plan]
        case (op, left, right):
            return PYTHON[op](compute(left, point), compute(right, point))


def value_at(expr: Expr, point: dict[str, int]) -> int:
    """The value of an expression: its bounds where every variable has one value."""
    low, high = bounds(expr, {name: (step, step) for name, step in point.items()})
    assert low == high
    return low
