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


def test_a_part_has_its_place_in_the_whole() -> None:
    """While one part waits for the others, their places are free."""
    values = [
        Value("early", 1024, 0, 0, inside="both"),
        Value("between", 1024, 1, 2),
        Value("late", 1024, 3, 3, inside="both", at=1024),
        Value("both", 2048, 3, 4),
    ]
    plan = plan_memory(values)
    assert plan.offsets["early"] == plan.offsets["both"]
    assert plan.offsets["late"] == plan.offsets["between"] == plan.offsets["both"] + 1024
    assert plan.bytes == plan.bound == 2048


def test_a_whole_lives_as_long_as_its_parts_are_read() -> None:
    values = [
        Value("x", 2048, 0, 1),
        Value("low", 1024, 2, 2, inside="x"),
        Value("high", 1024, 5, 5, inside="x", at=1024),
        Value("y", 1024, 3, 4),
    ]
    plan = plan_memory(values)
    assert plan.offsets["y"] == plan.offsets["low"]
    assert plan.bytes == plan.bound == 2048


def test_wholes_are_parts_of_others() -> None:
    sizes = [640, 128, 64, 320]
    values, total = [Value("all0", sizes[0], 0, 0, inside="all1")], sizes[0]
    for step, size in enumerate(sizes[1:], start=1):
        outer = f"all{step + 1}" if size != sizes[-1] else ""
        values.append(Value(f"v{step}", size, step, step, inside=f"all{step}", at=total))
        total += size
        values.append(Value(f"all{step}", total, step, step + 1, inside=outer))
    plan = plan_memory(values)
    assert [plan.offsets[f"v{step}"] for step in (1, 2, 3)] == [640, 768, 832]
    assert plan.bytes == plan.bound == total


def test_a_part_takes_over_what_lies_alone() -> None:
    """The other part's place is not touched before it is written."""
    values = [
        Value("x", 1024, 0, 1),
        Value("y", 1024, 1, 1, ("x",), inside="both", at=1024),
        Value("z", 1024, 2, 2, inside="both"),
        Value("both", 2048, 2, 3),
        Value("w", 2048, 3, 4, ("both",)),
    ]
    plan = plan_memory(values)
    assert plan.offsets["x"] == plan.offsets["y"] == plan.offsets["both"] + 1024
    assert plan.offsets["w"] == plan.offsets["both"]
    assert plan.bytes == plan.bound == 2048


def test_what_is_read_through_a_view_is_not_taken_over() -> None:
    values = [
        Value("x", 1024, 0, 1),
        Value("low", 512, 1, 3, inside="x"),
        Value("y", 1024, 1, 2, ("x",)),
        Value("part", 512, 0, 1, inside="both"),
        Value("both", 1024, 4, 5),
        Value("z", 512, 1, 2, ("part",)),
    ]
    plan = plan_memory(values)
    assert abs(plan.offsets["x"] - plan.offsets["y"]) >= 1024
    assert plan.offsets["z"] != plan.offsets["part"]
