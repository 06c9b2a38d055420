"""What expressions of the language evaluate to."""

from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.frontend import ast
from cnnc.ir.graph import Node
from cnnc.ops.attributes import Symbol
from cnnc.ops.attributes import Value as AttributeValue


class Unknown:
    """Stands for a value lost to an error reported before; using it reports nothing more."""


UNKNOWN = Unknown()


@record
class Given:
    """An evaluated argument and where it stands; `expression` is None where none was written."""

    name: ast.Name | None
    value: "Value"
    span: Span
    expression: ast.Expression | None = None


@record
class Word:
    """A name that is bound to nothing, perhaps with arguments: a choice, or a stage not applied."""

    name: str
    span: Span
    arguments: tuple[Given, ...] = ()


@record
class Range:
    """All numbers from `low` to `high`, both included; integers only, if both are."""

    low: int | float
    high: int | float

    def holds(self, value: int | float) -> bool:
        """Whether the number is one of them."""
        whole = isinstance(value, int) or not self.is_whole
        return whole and self.low <= value <= self.high

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Value = bool | int | float | str | Word | Node | Unknown | Range | tuple["Value", ...]

Flow = Node | Unknown | tuple["Flow", ...]
"""What flows through `->`: a tensor, or a list of tensors and of such lists."""


def is_number(value: Value) -> bool:
    """Whether the value is an integer or a real number; truth values are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def holds_unknown(value: Value) -> bool:
    """Whether the value is lost, or a list with a lost item."""
    if isinstance(value, tuple):
        return any(map(holds_unknown, value))
    return isinstance(value, Unknown)


def holds_tensor(value: Value) -> bool:
    """Whether the value is a tensor, or a list with one in it."""
    if isinstance(value, tuple):
        return any(map(holds_tensor, value))
    return isinstance(value, Node)


def to_attribute(value: Value) -> AttributeValue | None:
    """The value as operators take it for an attribute, or None: they take no tensors."""
    match value:
        case bool() | int() | float() | str():
            return value
        case Word():
            parts = [to_attribute(each.value) for each in value.arguments if each.name is None]
            known = tuple(part for part in parts if part is not None)
            return Symbol(value.name, known) if len(known) == len(value.arguments) else None
        case tuple():
            items = [to_attribute(item) for item in value]
            known = tuple(item for item in items if item is not None)
            return known if len(known) == len(items) else None
    return None


def show(value: Value) -> str:
    """The value as messages print it."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case str():
            return f'"{value}"'
        case Word():
            inside = ", ".join(show(each.value) for each in value.arguments)
            return f"{value.name}({inside})" if inside else value.name
        case tuple():
            return f"[{', '.join(map(show, value))}]"
        case Node():
            return f"a tensor {value.type}"
        case Range():
            return f"{show(value.low)}..{show(value.high)}"
        case Unknown():
            return "?"
    return str(value)


def kind(value: Value) -> str:
    """What sort of value it is, as a noun phrase."""
    match value:
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case Word():
            return "a name"
        case tuple():
            return "a list"
        case Node():
            return "a tensor"
        case Range():
            return "a range"
    return "an unknown value"


def count_of(count: int, noun: str) -> str:
    """So many of these, in a message: no tensors, 1 tensor, 2 tensors."""
    return f"{count} {noun}" if count == 1 else f"{count or 'no'} {noun}s"
