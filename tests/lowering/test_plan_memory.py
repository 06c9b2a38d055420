"""The arena: no two tensors that live together overlap, and memory is reused."""

from hypothesis import given
from hypothesis import strategies as st

from cnnc.loop.kernel import ALIGNMENT
from cnnc.lowering.plan_memory import Value, least_memory, plan_memory


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Value]:
    values: list[Value] = []
    for number in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, 10))
        last = first + draw(st.integers(0, 5))
        size = draw(st.integers(1, 500))
        reuses = tuple(v.name for v in values if v.last == first and v.bytes == size)
        values.append(Value(f"v{number}", size, first, last, reuses))
    return values


@given(lifetimes())
def test_values_alive_together_do_not_overlap(values: list[Value]) -> None:
    plan = plan_memory(values)
    offsets, arena = plan.offsets, plan.bytes
    assert plan.bound == least_memory(values) <= arena
    assert set(offsets) == {value.name for value in values}
    for a in values:
        assert offsets[a.name] % ALIGNMENT == 0
        assert offsets[a.name] + a.bytes <= arena
        for b in values:
            together = a is not b and a.first <= b.last and b.first <= a.last
            handed_over = (
                offsets[a.name] == offsets[b.name]
                and a.bytes == b.bytes
                and (a.last == b.first or b.last == a.first)
            )
            apart = (
                offsets[a.name] + a.bytes <= offsets[b.name]
                or offsets[b.name] + b.bytes <= offsets[a.name]
            )
            assert not together or apart or handed_over


def test_a_chain_needs_two_places() -> None:
    chain = [Value(f"v{i}", 1000, i, i + 1) for i in range(10)]
    plan = plan_memory(chain)
    assert plan.bytes == plan.bound == 2 * 1024


def test_an_in_place_chain_needs_one() -> None:
    chain = [Value(f"v{i}", 1000, i, i + 1, (f"v{i - 1}",) if i else ()) for i in range(10)]
    plan = plan_memory(chain)
    assert plan.bytes == plan.bound == 1024
    assert set(plan.offsets.values()) == {0}


def test_a_value_read_later_is_not_overwritten() -> None:
    values = [
        Value("x", 64, 0, 3),
        Value("y", 64, 1, 2, ("x",)),
        Value("z", 64, 2, 3, ("y",)),
    ]
    offsets = plan_memory(values).offsets
    assert offsets["x"] != offsets["y"] == offsets["z"]
