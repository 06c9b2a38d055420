"""Names in sight, and the instance paths that weights are called by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.frontend.values import Value


@dataclass(slots=True)
class Scope:
    """Names bound so far, and those the text binds further down, inside the scope around them."""

    outer: "Scope | None" = None
    later: Mapping[str, Span] = field(default_factory=dict)
    _values: dict[str, Value] = field(default_factory=dict)
    _places: dict[str, Span | None] = field(default_factory=dict)

    def find(self, name: str) -> Value | None:
        """The value bound to the name, here or further out."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._values:
                return scope._values[name]
            scope = scope.outer
        return None

    def find_later(self, name: str) -> Span | None:
        """Where the name will be bound, if that is further down."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.later:
                return scope.later[name]
            scope = scope.outer
        return None

    def place(self, name: str) -> Span | None:
        """Where the text has bound the name, here or further out."""
        if name in self._places or self.outer is None:
            return self._places.get(name)
        return self.outer.place(name)

    def bind(self, name: str, value: Value, place: Span | None) -> None:
        """Bind the name in this scope; names the text does not declare have no place."""
        self._values[name] = value
        self._places[name] = place

    def names(self) -> Iterator[str]:
        """Every name in sight."""
        yield from self._values
        if self.outer is not None:
            yield from self.outer.names()


@record
class Path:
    """Where instances hang: see "Names of weights" in docs/language.md.

    `owner` is the net, block instance or repetition around the text: labels and bindings hang
    there. `prefix` is where unlabelled stages hang. `exact` is the path of the next instance
    itself, where a label, binding or repetition names it.
    """

    owner: str = ""
    prefix: str = ""
    exact: str | None = None

    def inside(self, path: str) -> "Path":
        """Within the instance at `path`."""
        return Path(path, path)

    def named(self, path: str) -> "Path":
        """For one stage or pipeline that is called `path`."""
        return replace(self, prefix=path, exact=path)

    def unnamed(self) -> "Path":
        """The same place, where no name is meant for the next instance."""
        return replace(self, exact=None) if self.exact is not None else self


def join(prefix: str, name: str) -> str:
    """`prefix.name`."""
    return f"{prefix}.{name}" if prefix else name


class Paths:
    """All instance paths of a net, each handed out once."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._repeated: set[str] = set()

    def claim(self, path: str) -> bool:
        """Take exactly this path; False if it is taken."""
        if path in self._taken:
            return False
        self._taken[path] = 0
        return True

    def claim_free(self, prefix: str, name: str) -> str:
        """`prefix.name`, or with `_1`, `_2`, … behind it the first that is free."""
        wanted = join(prefix, name)
        if self.claim(wanted):
            return wanted
        while True:
            self._taken[wanted] += 1
            numbered = f"{wanted}_{self._taken[wanted]}"
            if self.claim(numbered):
                return numbered

    def claim_repeat(self, prefix: str) -> str:
        """Where repetitions number their instances: the prefix itself, the first time."""
        if prefix not in self._repeated:
            self._repeated.add(prefix)
            return prefix
        return self.claim_free(prefix, "repeat_1")
