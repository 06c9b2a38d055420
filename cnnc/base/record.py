"""Frozen dataclasses that are quick to make.

`dataclasses` writes and compiles six functions for a frozen class, half a millisecond each time it
is imported, and cnnc has some three hundred. All but `__init__` need no text of their own.
"""

import dataclasses
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TypeVar, dataclass_transform

T = TypeVar("T")
Fields = Sequence["dataclasses.Field[object]"]
Values = Callable[[object], tuple[object, ...]]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def record(cls: type[T]) -> type[T]:
    """The class as `dataclass(frozen=True, slots=True)` makes it: pickled, compared, hashed alike.

    TypeError for a field that is keyword-only, or has a default and is no argument. What is derived
    from a record is a record too, or no dataclass.
    """
    return make_record(cls, slots=True)


def make_record(cls: type[T], *, slots: bool) -> type[T]:
    """See `record`; without slots, a class may have cached properties."""
    own = {name: vars(cls).get(name) for name in ("__eq__", "__hash__")}
    made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    fields = dataclasses.fields(made)  # type: ignore[arg-type]
    members: dict[str, object] = {"__setattr__": _refuse, "__delattr__": _refuse}
    if slots:
        members |= {"__getstate__": _get_state, "__setstate__": _set_state}
    if fields or hasattr(made, "__post_init__"):
        members["__init__"] = _initialiser(fields, hasattr(made, "__post_init__"))
    if "__repr__" not in vars(made):
        members["__repr__"] = _show
    compared = [field for field in fields if field.compare]
    hashed = [field for field in compared if field.hash is not False]
    members["__eq__"] = _equality(_reader([field.name for field in compared]))
    members["__hash__"] = _hash(_reader([field.name for field in hashed]))
    members |= {name: member for name, member in own.items() if member is not None}
    for name, member in members.items():
        setattr(made, name, member)
    return made


def _initialiser(fields: Fields, has_more: bool) -> Callable[..., None]:
    """The one function whose text names the fields."""
    missing = dataclasses.MISSING
    names: dict[str, object] = {"_set": object.__setattr__, "_missing": missing}
    parameters, lines = ["self"], []
    for field in fields:
        name = parameter = value = field.name
        has_default = field.default is not missing or field.default_factory is not missing
        if field.kw_only or (has_default and not field.init):
            raise TypeError(f"a record has no fields such as `{name}`")
        if not field.init:
            continue
        if field.default is not missing:
            names[f"_{name}_default"] = field.default
            parameter = f"{name}=_{name}_default"
        elif field.default_factory is not missing:
            names[f"_{name}_make"] = field.default_factory
            parameter = f"{name}=_missing"
            value = f"_{name}_make() if {name} is _missing else {name}"
        parameters.append(parameter)
        lines.append(f"_set(self, {name!r}, {value})")
    lines += ["self.__post_init__()"] * has_more or ["pass"] * (not lines)
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines), names)
    made: Callable[..., None] = names["__init__"]  # type: ignore[assignment]
    return made


def _reader(names: Sequence[str]) -> Values:
    """What reads these attributes of an object."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda self: ()
    (name,) = names
    return lambda self: (getattr(self, name),)


def _equality(values: Values) -> Callable[[object, object], bool]:
    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        if other.__class__ is self.__class__:
            return values(self) == values(other)
        return NotImplemented

    return __eq__


def _hash(values: Values) -> Callable[[object], int]:
    def __hash__(self: object) -> int:  # noqa: N807
        return hash(values(self))

    return __hash__


def _show(self: object) -> str:
    fields = dataclasses.fields(self)  # type: ignore[arg-type]
    shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: object, name: str, *value: object) -> None:
    what = "assign to" if value else "delete"
    raise dataclasses.FrozenInstanceError(f"cannot {what} field {name!r}")


def _get_state(self: object) -> list[object]:
    return [getattr(self, each.name) for each in dataclasses.fields(self)]  # type: ignore[arg-type]


def _set_state(self: object, state: Sequence[object]) -> None:
    for each, value in zip(dataclasses.fields(self), state, strict=True):  # type: ignore[arg-type]
        object.__setattr__(self, each.name, value)
