"""Records behave as frozen dataclasses with slots do."""

import copy
import dataclasses
import pickle
from dataclasses import field

import pytest

from cnnc.base.record import make_record, record


@record
class Point:
    """A record of every kind of field."""

    x: int
    y: list[int] = field(default_factory=list)
    note: str = field(default="", compare=False, repr=False)
    shown: int = field(default=0, hash=False)


@record
class Deeper(Point):
    """One derived from another."""

    z: int = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """What `Point` is measured by."""

    x: int
    y: list[int] = field(default_factory=list)
    note: str = field(default="", compare=False, repr=False)
    shown: int = field(default=0, hash=False)


def test_it_is_made_and_shown_as_a_dataclass() -> None:
    """Arguments by place and by name, defaults, and a list of its own for each."""
    assert repr(Point(1)) == repr(Model(1)).replace("Model", "Point")
    assert repr(Deeper(1, z=2)) == "Deeper(x=1, y=[], shown=0, z=2)"
    assert Point(1).y is not Point(1).y
    assert dataclasses.asdict(Deeper(1)) == {"x": 1, "y": [], "note": "", "shown": 0, "z": 7}
    assert dataclasses.replace(Point(1), x=2) == Point(2)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]


def test_it_compares_and_hashes_what_it_should() -> None:
    """By fields that compare, within the same class."""
    assert Point(1, [2], "a") == Point(1, [2], "b")
    assert Point(1, shown=1) != Point(1, shown=2)
    assert Point(1) != Deeper(1)
    assert (Point(1) == 1) is False
    assert hash(Point(1, (), shown=1)) == hash(Point(1, (), shown=2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))


def test_it_is_frozen() -> None:
    """No field can be set or deleted, and there is no room for others."""
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="assign to field 'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="delete field 'x'"):
        del point.x
    assert not hasattr(point, "__dict__")


def test_it_is_copied_and_pickled() -> None:
    """With all fields."""
    point = Deeper(1, [2], "note", 3, 4)
    for made in (copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert (made, made.note, made is point) == (point, "note", False)


def test_methods_of_its_own_stay() -> None:
    """Equality, hash and text that the class defines, and what is to be done in the end."""

    @record
    class Own:
        """A record that compares nothing."""

        x: int
        twice: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "twice", 2 * self.x)

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

        def __repr__(self) -> str:
            return "own"

    assert Own(1) == Own(2)
    assert {Own(1): 1}[Own(2)] == 1
    assert (repr(Own(1)), Own(4).twice) == ("own", 8)


def test_without_fields_and_without_slots() -> None:
    """Such are many operators."""

    class Empty:
        """A class without fields."""

    made = make_record(Empty, slots=False)
    assert (made(), repr(made())[-7:]) == (made(), "Empty()")
    assert hash(made()) == hash(made())


@pytest.mark.parametrize("kind", [field(default=1, init=False), field(kw_only=True)])
def test_what_it_cannot_do_is_refused(kind: object) -> None:
    """Rather than done in another way."""
    with pytest.raises(TypeError, match="no fields such as `x`"):

        @record
        class _Wrong:
            x: int = kind  # type: ignore[assignment]


def test_a_class_that_compares_itself_is_hashed_by_its_fields() -> None:
    """As a frozen dataclass is."""

    @record
    class Own:
        number: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

    assert Own(1) == Own(2)
    assert hash(Own(1)) == hash(Own(1)) != hash(Own(2))
