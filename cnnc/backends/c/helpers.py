"""Small functions that kernels call: those for vectors, and what C99 has no operator for."""

from collections.abc import Mapping
from types import MappingProxyType

from cnnc.backends.abi import C_TYPES
from cnnc.backends.c.text import narrow
from cnnc.backends.c.types import mask_bits, mask_type, room, vector_type
from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.base.templates import fill

_X86 = {512: ("_mm512", "__m512", "__AVX512F__"), 256: ("_mm256", "__m256", "__AVX__"),
        128: ("_mm", "__m128", "__SSE2__")}  # fmt: skip
_OPERATIONS = {
    "lt": ("<", "_CMP_LT_OQ"),
    "le": ("<=", "_CMP_LE_OQ"),
    "eq": ("==", "_CMP_EQ_OQ"),
    "ne": ("!=", "_CMP_NEQ_UQ"),
}
_LIMITS: Mapping[DType, tuple[str, str, str, str]] = MappingProxyType(
    {
        DType.I32: ("INT32_MIN", "INT32_MAX", "-2147483648.0", "2147483647.0"),
        DType.I64: ("INT64_MIN", "INT64_MAX", "-9223372036854775808.0", "9223372036854775808.0"),
        DType.U8: ("0", "UINT8_MAX", "0.0", "255.0"),
    }
)
"""The smallest and largest number, and floats from which on these are the nearest."""


@record
class Helper:
    """A helper: the name of its template, and the type it is for.

    `part` is a number of lanes where these are fewer than the vector has, `op` a comparison,
    `source` the type that is converted.
    """

    template: str
    dtype: DType = DType.F32
    lanes: int = 1
    part: int = 0
    op: str = ""
    source: DType | None = None


@record
class X86:
    """Intrinsics of x86 for a vector: `_mm512`, `__m512`, `ps`, and the macros that say so."""

    prefix: str
    type: str
    suffix: str
    guard: str
    fma: str
    total: int
    predicate: str


@record
class Neon:
    """Intrinsics of Arm for a vector of 128 bits."""

    type: str
    fma: str


@record
class Source:
    """The type a conversion starts from, and numbers beyond which its result is known."""

    element: str
    scalar: str
    vector: str
    lowest: str
    highest: str


@record
class HelperView:
    """What a template may see of the type that its helper is for."""

    element: str
    scalar: str
    vector: str
    mask: str
    unsigned: str
    unsigned_vector: str
    lanes: int
    part: int
    bits: int
    bytes: int
    f: str
    op: str
    sign: str
    smallest: str
    largest: str
    x86: X86 | None
    neon: Neon | None
    source: Source | None

    def times(self, text: str) -> str:
        """The text once for each lane."""
        return ", ".join([text] * self.lanes)

    @property
    def bias(self) -> int:
        """Of the exponent."""
        return 127 if self.bits == 32 else 1023

    @property
    def mantissa_bits(self) -> int:
        """How many bits the exponent lies above."""
        return 23 if self.bits == 32 else 52

    def _number(self, value: int, *, signed: bool) -> str:
        macro = f"{'INT' if signed else 'UINT'}{self.bits}_C"
        return f"{macro}(0x{value:x})"

    @property
    def positive(self) -> str:
        """All bits but the sign."""
        return self._number((1 << (self.bits - 1)) - 1, signed=True)

    @property
    def mantissa_mask(self) -> str:
        """The bits of the mantissa."""
        return self._number((1 << self.mantissa_bits) - 1, signed=True)

    @property
    def one(self) -> str:
        """The exponent of 1."""
        return self._number(self.bias, signed=True)

    @property
    def unsigned_positive(self) -> str:
        """All bits but the sign."""
        return self._number((1 << (self.bits - 1)) - 1, signed=False)

    @property
    def unsigned_mantissa_mask(self) -> str:
        """The bits of the mantissa."""
        return self._number((1 << self.mantissa_bits) - 1, signed=False)

    @property
    def unsigned_one(self) -> str:
        """The exponent of 1."""
        return self._number(self.bias, signed=False)

    @property
    def unsigned_one_bit(self) -> str:
        """The number 1."""
        return self._number(1, signed=False)

    @property
    def unsigned_nan(self) -> str:
        """A NaN."""
        exponents = (1 << (self.bits - self.mantissa_bits)) - 1
        return self._number(
            (exponents << self.mantissa_bits >> 1) & ~(1 << (self.bits - 1)), signed=False
        )


class Preamble:
    """The helpers of one file, each once and behind those that it needs."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        self._texts: dict[Helper, str] = {}
        self.need(Helper("compiler"))
        self.need(Helper("inline"))

    @property
    def text(self) -> str:
        """All of them: fixed text, types, functions."""
        fixed = [self._texts[each] for each in sorted(self._texts, key=_order) if _is_fixed(each)]
        types = ["".join(self._types.values())] * bool(self._types)
        return "\n".join([*fixed, *types, *(t for h, t in self._texts.items() if not _is_fixed(h))])

    def need(self, helper: Helper) -> None:
        """Have the helper in the file."""
        if helper in self._texts:
            return
        if helper.lanes > 1:
            self._need_types(helper)
        for other in _needs(helper):
            self.need(other)
        self._texts[helper] = narrow(fill(f"c/helpers/{helper.template}.c", _view(helper)))

    def vector(self, element: str, lanes: int) -> str:
        """The name of a type of vectors: of `f32`, `f64`, and integers such as `i8`, `u32`."""
        lanes = room(lanes)
        name = f"{element}x{lanes}"
        if name not in self._types:
            self._types[name] = fill("c/helpers/type.c", TypeView(name, *_ELEMENTS[element], lanes))
        return name

    def call(self, name: str, dtype: DType, lanes: int = 1, *, part: int = 0, op: str = "") -> str:
        """The name of a function on vectors of so many lanes, or on scalars."""
        if dtype.is_float:
            template = name if lanes > 1 else f"scalar_{name}"
        else:
            template = f"int_{name}" if name in _MODULAR else name
        lanes = room(lanes)
        self.need(Helper(template, dtype, lanes, part, op))
        words = [name.removesuffix("_part").removesuffix("_strided")]
        words += [str(part)] * bool(part) + ["by"] * name.endswith("_strided") + [op] * bool(op)
        return "_".join([f"{dtype}x{lanes}" if lanes > 1 else str(dtype), *words])

    def convert(self, source: DType, dtype: DType, lanes: int = 1) -> str:
        """The name of the function that converts floats to integers."""
        template = "from" if lanes > 1 else "scalar_from"
        self.need(Helper(template, dtype, room(lanes), source=source))
        return f"{vector_type(dtype, lanes) if lanes > 1 else dtype}_from_{source}"

    def _need_types(self, helper: Helper) -> None:
        bits = 8 * helper.dtype.bytes
        self.vector(str(helper.dtype), helper.lanes)
        if helper.template in _MASKED:
            self.vector(f"i{bits}", helper.lanes)
        if helper.template in ("int_add", "int_sub", "int_mul"):
            self.vector(f"u{bits}", helper.lanes)
        if helper.source:
            self.vector(str(helper.source), helper.lanes)


@record
class TypeView:
    """What the template of a type of vectors may see."""

    vector: str
    scalar: str
    bits: int
    lanes: int

    @property
    def bytes(self) -> int:
        """Those of a vector."""
        return self.lanes * self.bits // 8


_ELEMENTS = {"f32": ("float", 32), "f64": ("double", 64)} | {
    f"{sign}{bits}": (f"{'u' * (sign == 'u')}int{bits}_t", bits)
    for sign in "iu"
    for bits in (8, 32, 64)
}
_MODULAR = ("add", "sub", "mul", "max", "min")
_MASKED = (
    *("larger", "smaller", "if", "select", "abs", "copysign", "ldexp", "exponent", "mantissa"),
    *("int_max", "int_min"),
)
_NEEDS = {
    "floor_div": ("floor_mod",),
    **{name: ("any",) for name in ("load", "store")},
    **{name: ("intrinsics",) for name in ("splat", "fma", "larger", "smaller", "if", "ldexp")},
    **{name: ("intrinsics",) for name in ("load_part", "store_part")},
    **{
        f"scalar_{name}": ("bits",) for name in ("abs", "copysign", "ldexp", "exponent", "mantissa")
    },
    "sqrt": ("intrinsics", "scalar_sqrt"),
    "scalar_sqrt": ("intrinsics", "bits"),
    "int_max": ("select",),
    "int_min": ("select",),
    "from": ("scalar_from",),
    "max": ("larger", "if"),
    "min": ("smaller", "if"),
}
"""What must stand before a helper, for the same type."""
_FIXED = ("intrinsics", "compiler", "freestanding", "inline", "unroll", "prefetch")
_PLAIN = (*_FIXED, "share", "places", "index_max", "index_min", "floor_div", "floor_mod")
"""Those that are for no type."""


def _needs(helper: Helper) -> list[Helper]:
    found = []
    for name in _NEEDS.get(helper.template, ()):
        if name in _PLAIN:
            found.append(Helper(name))
        elif name.startswith("scalar_") or name == "bits":
            found.append(Helper(name, helper.dtype, source=helper.source))
        elif helper.lanes > 1:
            op = "ne" if name == "if" else ""
            found.append(Helper(name, helper.dtype, helper.lanes, op=op))
    return found


def _is_fixed(helper: Helper) -> bool:
    return helper.template in _FIXED


def _order(helper: Helper) -> int:
    return _FIXED.index(helper.template) if _is_fixed(helper) else len(_FIXED)


def _view(helper: Helper) -> HelperView:
    dtype, lanes = helper.dtype, helper.lanes
    bits = 8 * dtype.bytes
    sign, predicate = _OPERATIONS.get(helper.op, ("", ""))
    smallest, largest, *_ = _LIMITS.get(dtype, ("", ""))
    return HelperView(
        element=str(dtype),
        scalar=C_TYPES[dtype],
        vector=vector_type(dtype, lanes),
        mask=mask_type(mask_bits(dtype), lanes),
        unsigned=f"uint{bits}_t",
        unsigned_vector=f"u{bits}x{lanes}",
        lanes=lanes,
        part=helper.part or lanes,
        bits=bits,
        bytes=dtype.bytes * lanes,
        f="f" if dtype is DType.F32 else "",
        op=helper.op,
        sign=sign,
        smallest=smallest,
        largest=largest,
        x86=_x86(dtype, bits * lanes, predicate),
        neon=_neon(dtype, bits * lanes),
        source=_source(helper.source, dtype, lanes) if helper.source else None,
    )


def _x86(dtype: DType, total: int, predicate: str) -> X86 | None:
    if not dtype.is_float or total not in _X86:
        return None
    prefix, kind, guard = _X86[total]
    wide = dtype is DType.F64
    fma = guard if total == 512 else "__FMA__"
    return X86(
        prefix, f"{kind}d" if wide else kind, "pd" if wide else "ps", guard, fma, total, predicate
    )


def _neon(dtype: DType, total: int) -> Neon | None:
    if total != 128 or not dtype.is_float:
        return None
    if dtype is DType.F64:
        return Neon("float64x2_t", "defined(__aarch64__)")
    return Neon("float32x4_t", "defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)")


def _source(source: DType, dtype: DType, lanes: int) -> Source:
    f = "f" if source is DType.F32 else ""
    *_, lowest, highest = _LIMITS.get(dtype, ("", ""))
    return Source(
        str(source), C_TYPES[source], vector_type(source, lanes), f"{lowest}{f}", f"{highest}{f}"
    )
