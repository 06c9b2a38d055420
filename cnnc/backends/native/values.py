"""Values in LLVM IR: types, literals, lanes and arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from cnnc.backends.native import ir
from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.loop.expr import Const, binary

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
COMPARISONS = {"lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_SCALARS: dict[DType, ir.Type] = {
    DType.F32: ir.FloatType(),
    DType.F64: ir.DoubleType(),
    DType.I32: I32,
    DType.I64: I64,
    DType.U8: ir.IntType(8),
    DType.BOOL: I1,
}


UNSIGNED = (DType.U8, DType.BOOL)


def llvm_type(dtype: DType, lanes: int) -> ir.Type:
    """The LLVM type of a value."""
    scalar = _SCALARS[dtype]
    return scalar if lanes == 1 else _vector(scalar, lanes)


@cache
def _vector(scalar: ir.Type, lanes: int) -> ir.VectorType:
    return ir.VectorType(scalar, lanes)


def memory_type(dtype: DType, lanes: int) -> ir.Type:
    """The LLVM type of elements in memory and in register arrays: a truth value is a byte."""
    return llvm_type(DType.U8 if dtype is DType.BOOL else dtype, lanes)


def alignment(dtype: DType) -> int:
    """Bytes every element is aligned to."""
    return dtype.bytes


def literal(value: int | float, dtype: DType) -> int | float:
    """A number as llvmlite wants it for the type."""
    return float(value) if dtype.is_float else int(value)


def lanes_of(value: ir.Value) -> int:
    """Lanes of a value."""
    return value.type.count if isinstance(value.type, ir.VectorType) else 1


def splat(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """The scalar in every lane; a vector stays as it is."""
    if lanes == 1 or lanes_of(value) == lanes:
        return value
    if isinstance(value, ir.Constant) and isinstance(value.constant, int | float):
        return _repeated(value.type, value.name, lanes)
    unknown = undefined(value.type, lanes)
    first = builder.insert_element(unknown, value, I32(0))
    return builder.shuffle_vector(first, unknown, _repeated(I32, "0", lanes))


@cache
def undefined(element: ir.Type, lanes: int) -> ir.Value:
    """A vector whose lanes may hold anything."""
    return ir.Constant(ir.VectorType(element, lanes), ir.Undefined)


@lru_cache(4096)
def _repeated(element: ir.Type, literal: str, lanes: int) -> ir.Value:
    """A literal in every lane: by its text, as 0.0 and -0.0 are equal numbers."""
    text = ", ".join([f"{element.text} {literal}"] * lanes)
    return ir.Value(ir.VectorType(element, lanes), f"<{text}>")


def same_lanes(
    builder: ir.IRBuilder, args: Sequence[ir.Value], *, keep_first: bool
) -> list[ir.Value]:
    """All operands with as many lanes as the widest; a select's scalar condition may stay."""
    lanes = max(map(lanes_of, args))
    head = list(args[:1]) if keep_first else []
    return head + [splat(builder, value, lanes) for value in args[len(head) :]]


def declared(
    builder: ir.IRBuilder, name: str, result: ir.Type, kinds: Sequence[ir.Type]
) -> ir.Function:
    """A function of this name in the module, declared if it is not there."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, kinds), name)
    return function


def ramp(builder: ir.IRBuilder, first: ir.Value, lanes: int, stride: int, dtype: DType) -> ir.Value:
    """first, first + stride, … as numbers."""
    steps = ir.Constant(ir.VectorType(first.type, lanes), [lane * stride for lane in range(lanes)])
    return cast_index(builder, builder.add(splat(builder, first, lanes), steps), dtype)


def cast_index(builder: ir.IRBuilder, index: ir.Value, dtype: DType) -> ir.Value:
    """An index, or a vector of them, as a number."""
    kind = index.type.element if isinstance(index.type, ir.VectorType) else index.type
    return cast(builder, index, DType.I64 if kind == I64 else DType.I32, dtype)


def cast(builder: ir.IRBuilder, value: ir.Value, source: DType, target: DType) -> ir.Value:
    """The value as another element type, as `Cast` of the loops says."""
    kind = llvm_type(target, lanes_of(value))
    if source is target:
        return value
    if target is DType.BOOL:
        zero = _constant(value.type, 0)
        if source.is_float:
            return builder.fcmp_unordered("!=", value, zero)
        return builder.icmp_signed("!=", value, zero)
    if source.is_float and target.is_float:
        widens = source.bytes < target.bytes
        return builder.fpext(value, kind) if widens else builder.fptrunc(value, kind)
    if source.is_float:
        name = "llvm.fptoui.sat" if target in UNSIGNED else "llvm.fptosi.sat"
        return _converting_intrinsic(builder, name, value, kind)
    if target.is_float:
        return (builder.uitofp if source in UNSIGNED else builder.sitofp)(value, kind)
    if source.bits > target.bits:
        return builder.trunc(value, kind)
    return (builder.zext if source in UNSIGNED else builder.sext)(value, kind)


def from_memory(builder: ir.IRBuilder, value: ir.Value, dtype: DType) -> ir.Value:
    """What was loaded as a value: a truth value is one bit, and a byte in memory."""
    if dtype is not DType.BOOL:
        return value
    return builder.icmp_signed("!=", value, _constant(value.type, 0))


def to_memory(builder: ir.IRBuilder, value: ir.Value, dtype: DType) -> ir.Value:
    """A value as it is stored."""
    if dtype is not DType.BOOL:
        return value
    return builder.zext(value, memory_type(dtype, lanes_of(value)))


def index_binary(
    builder: ir.IRBuilder,
    op: str,
    left: "int | ir.Value",
    right: "int | ir.Value",
    word: ir.IntType,
) -> "int | ir.Value":
    """mul, floordiv, mod, min and max of indices, whose type is `word`.

    floordiv and mod are by a positive number.
    """
    if isinstance(left, int) and isinstance(right, int):
        folded = binary(op, Const(left), Const(right))
        assert isinstance(folded, Const)
        return int(folded.value)
    a, b = (word(side) if isinstance(side, int) else side for side in (left, right))
    match op:
        case "mul":
            return builder.mul(a, b, flags=("nsw",))
        case "min" | "max":
            condition = builder.icmp_signed("<" if op == "min" else ">", a, b)
            return builder.select(condition, a, b)
        case "floordiv" | "mod":
            # srem has the dividend's sign: one correction makes both round down.
            rest = builder.srem(a, b)
            negative = builder.icmp_signed("<", rest, word(0))
            rest = builder.select(negative, builder.add(rest, b), rest)
            return rest if op == "mod" else builder.sdiv(builder.sub(a, rest), b)
    raise TypeError(f"no index operation {op}")


@dataclass(frozen=True)
class Arithmetic:
    """Operations on values.

    `has_fma`: the target multiplies and adds in one instruction, `has_wide_fma` that of float64;
    `scales_by`: lanes of the vectors of float32 that it multiplies by powers of two in one
    (AVX-512); `has_masks`: it loads some lanes of a vector alone (AVX-512, too);
    `has_extremes`: it has an instruction for the larger of two numbers, NaN if one is. LLVM calls
    functions for those that no library has where there is no floating point.
    """

    has_fma: bool
    has_wide_fma: bool
    scales_by: int = 0
    has_masks: bool = False
    has_extremes: bool = True

    def fma(self, builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a * b + c."""
        scalar = c.type.element if isinstance(c.type, ir.VectorType) else c.type
        if self.has_wide_fma if isinstance(scalar, ir.DoubleType) else self.has_fma:
            return _intrinsic(builder, "llvm.fma", (a, b, c))
        return builder.fadd(builder.fmul(a, b), c)

    def operation(
        self, builder: ir.IRBuilder, op: str, dtype: DType, a: ir.Value, b: ir.Value
    ) -> ir.Value:
        """A Binary or Compare on values of an element type."""
        if not dtype.is_float:
            return _integer_operation(builder, op, dtype, a, b)
        match op:
            case "add":
                return builder.fadd(a, b)
            case "sub":
                return builder.fsub(a, b)
            case "mul":
                return builder.fmul(a, b)
            case "div":
                return builder.fdiv(a, b)
            case "ne":
                return builder.fcmp_unordered("!=", a, b)
            case "lt" | "le" | "eq":
                return builder.fcmp_ordered(COMPARISONS[op], a, b)
            case "min" | "max" if not self.has_extremes:
                return _extreme(builder, op, a, b)
            case "min" | "max":
                # NaN stays NaN; of two zeros it may be either one.
                return _intrinsic(builder, f"llvm.{op}imum", (a, b), "nsz")
        raise TypeError(f"no operation {op}")

    def call(self, builder: ir.IRBuilder, function: str, args: Sequence[ir.Value]) -> ir.Value:
        """A primitive function."""
        value = args[0]
        match function:
            case "sqrt" | "abs":
                name = "llvm.sqrt" if function == "sqrt" else "llvm.fabs"
                return _intrinsic(builder, name, args)
            case "copysign":
                return _intrinsic(builder, "llvm.copysign", args)
            case "ldexp" if value.type == ir.VectorType(ir.FloatType(), self.scales_by):
                return _scalef(builder, value, args[1])
            case "ldexp":
                return _ldexp(builder, value, args[1])
            case "exponent" | "mantissa":
                return _split_float(builder, function, value)
        raise TypeError(f"no function {function}")


def arithmetic_of(target: Target) -> Arithmetic:
    """What a target has."""
    wide = target.vector_bits == 512
    return Arithmetic(
        target.fuses(DType.F32),
        target.fuses(DType.F64),
        scales_by=16 if wide else 0,
        has_masks=wide,
        has_extremes=not target.architecture.startswith(("armv7", "thumb", "riscv")),
    )


def _extreme(builder: ir.IRBuilder, op: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """The second where either is NaN or they are equal; then the first where that is NaN."""
    better = builder.fcmp_ordered("<" if op == "min" else ">", a, b)
    found = builder.select(better, a, b)
    return builder.select(builder.fcmp_unordered("uno", a, a), a, found)


def _integer_operation(
    builder: ir.IRBuilder, op: str, dtype: DType, a: ir.Value, b: ir.Value
) -> ir.Value:
    """Sums and products are taken modulo 2**bits."""
    compare = builder.icmp_unsigned if dtype in UNSIGNED else builder.icmp_signed
    match op:
        case "add":
            return builder.add(a, b)
        case "sub":
            return builder.sub(a, b)
        case "mul":
            return builder.mul(a, b)
        case "and":
            return builder.and_(a, b)
        case "or":
            return builder.or_(a, b)
        case "lt" | "le" | "eq" | "ne":
            return compare(COMPARISONS[op], a, b)
        case "min" | "max":
            return builder.select(compare("<" if op == "min" else ">", a, b), a, b)
    raise TypeError(f"no operation {op} on {dtype}")


def _converting_intrinsic(
    builder: ir.IRBuilder, name: str, value: ir.Value, kind: ir.Type
) -> ir.Value:
    full_name = f"{name}.{kind.intrinsic_name}.{value.type.intrinsic_name}"
    return builder.call(declared(builder, full_name, kind, [value.type]), [value])


def _intrinsic(
    builder: ir.IRBuilder, name: str, args: Sequence[ir.Value], flags: str = ""
) -> ir.Value:
    kind = args[0].type
    full_name = f"{name}.{kind.intrinsic_name}"
    function = declared(builder, full_name, kind, [kind] * len(args))
    return builder.call(function, args, flags)


def prefetch(builder: ir.IRBuilder, address: ir.Value, *, later: bool) -> None:
    """Bring the line of an address into the first-level cache for reading, or the second-level."""
    kinds = [ir.PointerType(), I32, I32, I32]
    function = declared(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
    builder.call(function, [address, I32(0), I32(2 if later else 3), I32(1)])


@record
class _Format:
    """Fields of an IEEE 754 format."""

    integer: ir.Type
    mantissa_bits: int
    bias: int


def _format(value: ir.Value) -> _Format:
    scalar = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    if isinstance(scalar, ir.DoubleType):
        return _Format(I64, 52, 1023)
    return _Format(I32, 23, 127)


def _constant(model: ir.Type, number: int) -> ir.Constant:
    if isinstance(model, ir.VectorType):
        return ir.Constant(model, [number] * model.count)
    return ir.Constant(model, number)


def _integer_type(form: _Format, value: ir.Value) -> ir.Type:
    lanes = lanes_of(value)
    return form.integer if lanes == 1 else ir.VectorType(form.integer, lanes)


def _ldexp(builder: ir.IRBuilder, value: ir.Value, power: ir.Value) -> ir.Value:
    """value * 2**power in two steps, so that subnormal results and overflow come out right."""
    form = _format(value)
    integer = _integer_type(form, value)
    n = _whole(builder, power, form)
    half = builder.ashr(n, _constant(integer, 1))
    for part in (half, builder.sub(n, half)):
        biased = builder.add(part, _constant(integer, form.bias))
        bits = builder.shl(biased, _constant(integer, form.mantissa_bits))
        value = builder.fmul(value, builder.bitcast(bits, value.type))
    return value


def _whole(builder: ir.IRBuilder, number: ir.Value, form: _Format) -> ir.Value:
    """A small integral number as an integer.

    Vectors are added to a number whose last bit is worth one: not all machines convert vectors of
    doubles, and QEMU 7.2 stops where code for RISC-V converts vectors twice without a jump between.
    """
    integer = _integer_type(form, number)
    if lanes_of(number) == 1:
        return builder.fptosi(number, integer)
    digits = form.mantissa_bits
    sum_ = builder.fadd(number, _constant(number.type, 3 << (digits - 1)))
    bits = (form.bias + digits) << digits | 1 << (digits - 1)
    return builder.sub(builder.bitcast(sum_, integer), _constant(integer, bits))


def _scalef(builder: ir.IRBuilder, value: ir.Value, power: ir.Value) -> ir.Value:
    """value * 2**power by the instruction VSCALEFPS, rounded as everything else."""
    lanes = lanes_of(value)
    kind, mask = value.type, ir.IntType(lanes)
    name = f"llvm.x86.avx512.mask.scalef.ps.{32 * lanes}"
    function = builder.module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(kind, [kind, kind, kind, mask, I32])
        function = ir.Function(builder.module, signature, name)
    current_rounding = 4
    args = [value, power, value, mask(-1), I32(current_rounding)]
    return builder.call(function, args)


def _split_float(builder: ir.IRBuilder, part: str, value: ir.Value) -> ir.Value:
    form = _format(value)
    integer = _integer_type(form, value)
    bits = builder.bitcast(value, integer)
    if part == "exponent":
        biased = builder.lshr(bits, _constant(integer, form.mantissa_bits))
        unbiased = builder.sub(biased, _constant(integer, form.bias))
        return builder.sitofp(unbiased, value.type)
    kept = builder.and_(bits, _constant(integer, (1 << form.mantissa_bits) - 1))
    one = _constant(integer, form.bias << form.mantissa_bits)
    return builder.bitcast(builder.or_(kept, one), value.type)
