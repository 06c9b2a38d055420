"""Reading JSON that may hold anything: each value is checked for what it must be."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, NoReturn, TypeGuard, TypeVar

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.report import Json
from cnnc.container import UnsoundError

MAX_COUNT = 1 << 48
T = TypeVar("T")


class Fields:
    """An object of JSON; every method raises UnsoundError where a value is not of its kind."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A text."""
        value = self._values.get(name)
        return value if isinstance(value, str) else self._refuse(name)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._values.get(name)
        return value if isinstance(value, bool) else self._refuse(name)

    def count(self, name: str) -> int:
        """A whole number from 0 to MAX_COUNT."""
        value = self._values.get(name)
        return value if _is_count(value) else self._refuse(name)

    def number(self, name: str) -> float:
        """A number."""
        value = self._values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                pass
        self._refuse(name)

    def shape(self, name: str) -> Shape:
        """An array's shape."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > 32 or not all(map(_is_count, value)):
            self._refuse(name)
        return tuple(value)  # type: ignore[arg-type]

    def dtype(self, name: str) -> DType:
        """An element type by its name."""
        try:
            return DType(self.text(name))
        except ValueError:
            self._refuse(name)

    def row(self, name: str) -> "Fields":
        """An object inside this one."""
        value = self._values.get(name)
        return Fields(value) if isinstance(value, dict) else self._refuse(name)

    def rows(self, name: str) -> list["Fields"]:
        """A list of objects."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self._refuse(name)
        return [Fields(each) for each in value if isinstance(each, dict)]

    def texts(self) -> Iterator[tuple[str, str]]:
        """All names with their values, which are texts."""
        for name in self._values:
            yield name, self.text(name)

    def fill(self, kind: type[T]) -> T:
        """A dataclass whose fields are texts, counts, flags and shapes."""
        readers = {"str": self.text, "int": self.count, "bool": self.flag, "tuple": self.shape}
        values: dict[str, Any] = {}
        for field in fields(kind):  # type: ignore[arg-type]
            if field.name in self._values or field.default is MISSING:
                values[field.name] = readers[field.type.__name__](field.name)  # type: ignore
        return kind(**values)

    def _refuse(self, name: str) -> NoReturn:
        raise UnsoundError(f"its header has no sound `{name}`")


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT
