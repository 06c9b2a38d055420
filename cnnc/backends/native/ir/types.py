"""Types, values and constants of LLVM IR."""

import struct
from collections.abc import Iterable, Sequence
from ctypes import c_float
from functools import lru_cache
from math import copysign


class Type:
    """A type: `text` as LLVM writes it. Equal types have equal texts."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def intrinsic_name(self) -> str:
        """The type in the name of an intrinsic."""
        return {"float": "f32", "double": "f64"}.get(self.text, self.text)

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __call__(self, number: "int | float") -> "Constant":
        return constant(self, number)


class IntType(Type):
    """An integer of so many bits."""

    __slots__ = ("width",)

    def __init__(self, width: int) -> None:
        super().__init__(f"i{width}")
        self.width = width


class FloatType(Type):
    """IEEE binary32."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("float")


class DoubleType(Type):
    """IEEE binary64."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("double")


class VectorType(Type):
    """So many elements of a scalar type."""

    __slots__ = ("count", "element")

    def __init__(self, element: Type, count: int) -> None:
        super().__init__(f"<{count} x {element.text}>")
        self.element = element
        self.count = count

    @property
    def intrinsic_name(self) -> str:
        """See Type."""
        return f"v{self.count}{self.element.intrinsic_name}"


class ArrayType(Type):
    """So many elements in memory."""

    __slots__ = ("count", "element")

    def __init__(self, element: Type, count: int) -> None:
        super().__init__(f"[{count} x {element.text}]")
        self.element = element
        self.count = count


class PointerType(Type):
    """A pointer to anything."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("ptr")


class VoidType(Type):
    """No value."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("void")


class FunctionType(Type):
    """Result and parameters of a function."""

    __slots__ = ("arguments", "result")

    def __init__(self, result: Type, arguments: Iterable[Type]) -> None:
        self.result = result
        self.arguments = tuple(arguments)
        super().__init__(f"{result.text} ({', '.join(each.text for each in self.arguments)})")


class Value:
    """A value: its type, and its name or literal. Values are compared by identity."""

    __slots__ = ("name", "type")

    def __init__(self, type: Type, name: str) -> None:
        self.type = type
        self.name = name


class Constant(Value):
    """A literal; `constant` is the number, or a list of them for a vector."""

    __slots__ = ("constant",)

    def __init__(self, type: Type, number: "int | float | Sequence[int | float] | None") -> None:
        super().__init__(type, _literal(type, number))
        self.constant = number


Undefined = None
"""In place of a number: any value will do."""


def constant(type: Type, number: int | float) -> Constant:
    """A scalar constant; the same one for the same number and sign."""
    return _constant(type, number, copysign(1.0, number))


@lru_cache(4096)
def _constant(type: Type, number: int | float, _sign: float) -> Constant:
    # 0.0 and -0.0 are equal keys: the sign tells them apart.
    return Constant(type, number)


def _literal(type: Type, number: "int | float | Sequence[int | float] | None") -> str:
    if number is None:
        return "undef"
    if isinstance(type, VectorType):
        assert isinstance(number, Sequence)
        element = type.element
        return f"<{', '.join(f'{element.text} {_literal(element, each)}' for each in number)}>"
    assert isinstance(number, int | float)
    if isinstance(type, FloatType):
        # LLVM writes every float as the bits of the double of the same value.
        return _literal(DoubleType(), c_float(number).value)
    if isinstance(type, DoubleType):
        return "0x" + struct.pack(">d", number).hex().upper()
    return str(int(number))
