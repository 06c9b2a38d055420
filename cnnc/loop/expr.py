"""Expressions of the loop language. Constructors fold constants; nodes are frozen.

A value has one or more lanes; where scalars meet vectors, the scalar stands in every lane.
"""

import builtins
import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import copysign

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout, Shape
from cnnc.loop.functions import FUNCTIONS


class Space(Enum):
    """Where a buffer lives."""

    MEMORY = "memory"  # a parameter of the kernel
    REGISTER = "register"  # a small array that must end up in machine registers
    SCRATCH = "scratch"  # memory that the running thread has to itself


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named array with logical shape, element type and layout."""

    name: str
    shape: Shape
    dtype: DType
    layout: Layout
    space: Space = Space.MEMORY

    def __getitem__(self, index: "Index | tuple[Index, ...]") -> "Load":
        parts = index if isinstance(index, tuple) else (index,)
        return Load(self, tuple(as_index(part) for part in parts))

    @property
    def size(self) -> int:
        """Elements in memory, halo and padding included."""
        return self.layout.size(self.shape)


class Expr:
    """Base of all expressions; `dtype` None marks an integer index."""

    __slots__ = ()

    @property
    def dtype(self) -> DType | None:
        """Element type of the value, None for an index."""
        return None

    @property
    def lanes(self) -> int:
        """Elements in the value: 1 for a scalar."""
        inner = children(self)
        return max([part.lanes for part in inner]) if inner else 1

    def __add__(self, other: "Index") -> "Expr":
        return binary("add", self, as_like(other, self))

    def __radd__(self, other: "Index") -> "Expr":
        return binary("add", as_like(other, self), self)

    def __sub__(self, other: "Index") -> "Expr":
        return binary("sub", self, as_like(other, self))

    def __rsub__(self, other: "Index") -> "Expr":
        return binary("sub", as_like(other, self), self)

    def __mul__(self, other: "Index") -> "Expr":
        return binary("mul", self, as_like(other, self))

    def __rmul__(self, other: "Index") -> "Expr":
        return binary("mul", as_like(other, self), self)

    def __truediv__(self, other: "Index") -> "Expr":
        return binary("div", self, as_like(other, self))

    def __rtruediv__(self, other: "Index") -> "Expr":
        return binary("div", as_like(other, self), self)

    def __floordiv__(self, other: "Index") -> "Expr":
        return binary("floordiv", self, as_like(other, self))

    def __mod__(self, other: "Index") -> "Expr":
        return binary("mod", self, as_like(other, self))

    def __neg__(self) -> "Expr":
        return binary("mul", self, as_like(-1, self))

    def __lt__(self, other: "Index") -> "Expr":
        return compare("lt", self, as_like(other, self))

    def __le__(self, other: "Index") -> "Expr":
        return compare("le", self, as_like(other, self))

    def __gt__(self, other: "Index") -> "Expr":
        return compare("lt", as_like(other, self), self)

    def __ge__(self, other: "Index") -> "Expr":
        return compare("le", as_like(other, self), self)


Index = Expr | int | float


@dataclass(frozen=True, slots=True)
class Const(Expr):
    """A number: an index when `type` is None. 0.0 and -0.0 are different ones."""

    value: int | float
    type: DType | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Const):
            return NotImplemented
        same = (self.value, self.type) == (other.value, other.type)
        return same and (self.value != 0 or copysign(1, self.value) == copysign(1, other.value))

    def __hash__(self) -> int:
        return hash((self.value, self.type))

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.type


@dataclass(frozen=True, slots=True)
class Var(Expr):
    """A loop variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Local(Expr):
    """A value named by a Let."""

    name: str
    type: DType | None
    width: int = 1

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.type

    @property
    def lanes(self) -> int:
        """See Expr."""
        return self.width


@dataclass(frozen=True, slots=True)
class Ramp(Expr):
    """The indices base, base + stride, …: one for each lane."""

    base: Expr
    width: int
    stride: int = 1

    @property
    def lanes(self) -> int:
        """See Expr."""
        return self.width


@dataclass(frozen=True, slots=True)
class Load(Expr):
    """The element of a buffer at a logical index, or at one offset once the kernel is flat."""

    buffer: Buffer
    index: tuple[Expr, ...]

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.buffer.dtype


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """add sub mul div min max, and floordiv mod on indices; and or on truth values.

    `min` and `max` keep NaN, as NumPy's minimum and maximum do. `floordiv` and `mod` round down;
    their divisor is positive.
    """

    op: str
    left: Expr
    right: Expr

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.left.dtype

    @property
    def lanes(self) -> int:
        """See Expr: as there, without a loop, as most expressions are such."""
        return max(self.left.lanes, self.right.lanes)


@dataclass(frozen=True, slots=True)
class Compare(Expr):
    """lt le eq ne; false where an operand is NaN, but for ne."""

    op: str
    left: Expr
    right: Expr

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return DType.BOOL


@dataclass(frozen=True, slots=True)
class Select(Expr):
    """`then` where the condition holds, otherwise the other; both are evaluated."""

    condition: Expr
    then: Expr
    otherwise: Expr

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.then.dtype


@dataclass(frozen=True, slots=True)
class Fma(Expr):
    """a * b + c, rounded once where the target has the instruction, otherwise twice."""

    a: Expr
    b: Expr
    c: Expr

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.c.dtype


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """A mathematical function of the value's type; FUNCTIONS lists them."""

    function: str
    args: tuple[Expr, ...]

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.args[0].dtype


@dataclass(frozen=True, slots=True)
class Cast(Expr):
    """The value in another element type (docs/semantics.md); an index becomes a number."""

    value: Expr
    type: DType

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.type


@dataclass(frozen=True, slots=True)
class Lanes(Expr):
    """Lanes of all parts, counted one part behind the other; each has as many as the result."""

    parts: tuple[Expr, ...]
    places: tuple[int, ...]

    @property
    def dtype(self) -> DType | None:
        """See Expr."""
        return self.parts[0].dtype

    @property
    def lanes(self) -> int:
        """See Expr."""
        return len(self.places)


# By class and not by a match: this is what compiling asks most often.
_PARTS: dict[type[Expr], Callable[..., tuple[Expr, ...]]] = {
    Binary: operator.attrgetter("left", "right"),
    Compare: operator.attrgetter("left", "right"),
    Load: operator.attrgetter("index"),
    Fma: operator.attrgetter("a", "b", "c"),
    Select: operator.attrgetter("condition", "then", "otherwise"),
    Call: operator.attrgetter("args"),
    Ramp: lambda expr: (expr.base,),
    Lanes: operator.attrgetter("parts"),
    Cast: lambda expr: (expr.value,),
}


def children(expr: Expr) -> tuple[Expr, ...]:
    """The direct subexpressions."""
    return take(expr) if (take := _PARTS.get(type(expr))) else ()


def as_index(value: Index) -> Expr:
    """An integer as an expression."""
    if isinstance(value, Expr):
        return value
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no index")
    return Const(value)


def as_like(value: Index, model: Expr) -> Expr:
    """A number as an expression of the same element type as `model`."""
    if isinstance(value, Expr) or (dtype := model.dtype) is None:
        return as_index(value)
    return Const(float(value) if dtype.is_float else int(value), dtype)


def select(condition: Expr, then: Expr, otherwise: Expr) -> Expr:
    """Select, decided where the condition is known."""
    if isinstance(condition, Const):
        return then if condition.value else otherwise
    return Select(condition, then, otherwise)


def call(function: str, *args: Expr) -> Expr:
    """A function of FUNCTIONS."""
    if function not in FUNCTIONS:
        raise ValueError(f"unknown function {function}")
    return Call(function, args)


def compare(op: str, left: Expr, right: Expr) -> Expr:
    """A comparison, decided where both sides are known indices."""
    if isinstance(left, Const) and isinstance(right, Const) and left.dtype is None:
        return Const(int(getattr(operator, op)(left.value, right.value)), DType.BOOL)
    return Compare(op, left, right)


def binary(op: str, left: Expr, right: Expr) -> Expr:
    """A binary operation; indices are folded, floating point is left exactly as written."""
    if left.dtype is not None or op in ("and", "or"):
        return Binary(op, left, right)
    return _index_binary(op, left, right)


# Without match in these three: they make most of what compiling makes.
def _index_binary(op: str, left: Expr, right: Expr) -> Expr:
    if isinstance(right, Const):
        if isinstance(left, Const):
            fold = getattr(builtins if op in ("min", "max") else operator, op)
            return Const(int(fold(int(left.value), int(right.value))))
        if right.value == 1 and op in ("floordiv", "mod"):
            return left if op == "floordiv" else Const(0)
    if op in ("add", "sub"):
        return _sum(op, left, right)
    return _product(left, right) if op == "mul" else Binary(op, left, right)


def _sum(op: str, left: Expr, right: Expr) -> Expr:
    """Sums grow to the left, their one constant stands last."""
    if isinstance(right, Const):
        if right.value == 0:
            return left
        if op == "sub":
            return _index_binary("add", left, Const(-right.value))
    elif op == "add" and isinstance(left, Const):
        return _index_binary("add", right, left)
    if isinstance(left, Binary) and left.op == "add" and isinstance(left.right, Const):
        if isinstance(right, Const):
            return _index_binary("add", left.left, Const(left.right.value + right.value))
        return _index_binary("add", _index_binary(op, left.left, right), left.right)
    if isinstance(right, Binary) and right.op in ("add", "sub"):
        then = right.op if op == "add" else "sub" if right.op == "add" else "add"
        return _index_binary(then, _index_binary(op, left, right.left), right.right)
    return Binary(op, left, right)


def _product(left: Expr, right: Expr) -> Expr:
    """Constants stand last."""
    if isinstance(left, Const):
        left, right = right, left
    if isinstance(right, Const):
        if right.value in (0, 1):
            return left if right.value else right
        if isinstance(left, Binary) and left.op == "mul" and isinstance(left.right, Const):
            return _product(left.left, Const(left.right.value * right.value))
    return Binary("mul", left, right)
