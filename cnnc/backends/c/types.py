"""Values in C: text, how tightly it binds, and the type."""

from cnnc.backends.abi import C_TYPES
from cnnc.base.dtype import DType
from cnnc.base.record import record

ATOM, UNARY, PRODUCT, SUM, RELATION, EQUALITY, BIT_AND, BIT_OR, LOWEST = range(9)
"""How tightly C's operators bind, tightest first."""

INDEX = "ptrdiff_t"
_SIGNED = {8: DType.U8, 32: DType.I32, 64: DType.I64}


@record
class Value:
    """An expression of C. `dtype` None is an index.

    A truth value with several lanes is a mask: 0 or -1 in integers of so many bits, `mask`.
    """

    text: str
    level: int
    dtype: DType | None
    lanes: int = 1
    mask: int = 0

    def within(self, level: int) -> str:
        """The text as an operand of an operator that binds like this."""
        return self.text if self.level <= level else f"({self.text})"

    @property
    def c_type(self) -> str:
        """The type of a variable that holds it."""
        if self.dtype is None:
            return INDEX
        if self.lanes == 1:
            return C_TYPES[self.dtype]
        if self.dtype is DType.BOOL:
            return mask_type(self.mask, self.lanes)
        return vector_type(self.dtype, self.lanes)


def room(lanes: int) -> int:
    """Lanes of the vector type that holds so many: a power of two."""
    return 1 << (lanes - 1).bit_length()


def vector_type(dtype: DType, lanes: int) -> str:
    """The type of a vector: `f32x16`; a vector of 12 lanes is one of 16."""
    return f"{dtype}x{room(lanes)}"


def mask_type(bits: int, lanes: int) -> str:
    """The type of a mask: a vector of integers."""
    return f"i{bits}x{room(lanes)}"


def mask_bits(dtype: DType) -> int:
    """Bits of each lane in a mask that a comparison of such vectors gives."""
    return 8 * dtype.bytes
