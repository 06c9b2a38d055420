"""Lattices against the values they stand for, counted one by one."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnc.loop.expr import Const, Expr, Var
from cnnc.loop.lattice import Lattice, lattice_of

Term = tuple[int, int]
TERMS = st.lists(st.tuples(st.integers(1, 40), st.integers(2, 5)), max_size=4)


def made(constant: int, terms: list[Term]) -> tuple[Lattice | None, list[int]]:
    """The lattice of a sum, and all its values."""
    index: Expr = Const(constant)
    for number, (step, _) in enumerate(terms):
        index = index + Var(f"v{number}") * step
    lattice = lattice_of(index, {f"v{number}": extent for number, (_, extent) in enumerate(terms)})
    values = [
        constant + sum(step * t for (step, _), t in zip(terms, point, strict=True))
        for point in product(*(range(extent) for _, extent in terms))
    ]
    return lattice, values


@settings(max_examples=400, deadline=None)
@given(terms=TERMS, others=TERMS, start=st.integers(-20, 60), limit=st.integers(-30, 300))
def test_lattices_are_their_values(
    terms: list[Term], others: list[Term], start: int, limit: int
) -> None:
    lattice, values = made(3, terms)
    other, more = made(start, others)
    if lattice is None or other is None:
        return
    assert len(set(values)) == len(values)
    assert lattice.last == max(values)
    assert lattice.count_below(limit) == sum(value < limit for value in values)
    assert lattice.meets(other) is bool(set(values) & set(more))
    assert other.meets(lattice) is bool(set(values) & set(more))


@pytest.mark.parametrize("terms", [[(2, 3), (4, 2)], [(3, 4), (2, 2), (1, 2)], [(5, 2), (5, 2)]])
def test_what_may_come_twice_is_no_lattice(terms: list[Term]) -> None:
    """Steps that smaller terms reach: some of these sums do have every value once."""
    assert made(0, terms)[0] is None


def test_other_indices_are_no_lattices() -> None:
    extents = {"v": 4}
    assert lattice_of(Var("v") // 2, extents) is None
    assert lattice_of(Const(3) - Var("v"), extents) is None


def test_phases_of_a_large_stride_are_compared_at_once() -> None:
    first = Lattice(0, ((1 << 40, 1000), (1 << 20, 1000), (16, 60_000), (1, 8)))
    second = Lattice(8, ((1 << 40, 1000), (1 << 20, 1000), (16, 60_000), (1, 8)))
    assert first.meets(second) is False
    assert first.meets(Lattice(8, (*second.terms[:3], (1, 9)))) is True
    assert first.meets(Lattice(7, second.terms)) is True


def test_the_search_gives_up() -> None:
    """Steps that share few values, so that many combinations come close."""
    steps = [(step, 9) for step in (99991, 99989, 99971, 99961, 99929, 99923)]
    odd = Lattice(0, tuple(steps[::2]))
    assert odd.meets(Lattice(100_000, tuple(steps[1::2]))) is None
