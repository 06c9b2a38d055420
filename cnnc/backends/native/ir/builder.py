"""Writing the instructions of LLVM IR."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cnnc.backends.native.ir.module import Block, Function, Phi
from cnnc.backends.native.ir.types import (
    FunctionType,
    IntType,
    PointerType,
    Type,
    Value,
    VectorType,
)

_CONDITIONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}


class IRBuilder:
    """Writes instructions at the end of a block. Operands of one operation have one type.

    What was computed before in the block, or loaded with nothing stored since, is not written
    again: unrolled loops would write most of it many times, for LLVM to find out.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.function = block.function
        self.module = block.function.module

    def position_at_end(self, block: Block) -> None:
        """Go on in another block."""
        self.block = block

    def append_basic_block(self, name: str) -> Block:
        """A new block at the end of the function."""
        return self.function.append_basic_block(name)

    # ── control ─────────────────────────────────────────────────────────────────────────────────

    def branch(self, target: Block) -> None:
        """Jump."""
        self.block.lines.append(f"br label %{target.name}")

    def cbranch(self, condition: Value, then: Block, otherwise: Block) -> None:
        """Jump where the condition says."""
        line = f"br i1 {condition.name}, label %{then.name}, label %{otherwise.name}"
        self.block.lines.append(line)

    def phi(self, type: Type) -> Phi:
        """A value by the block control came from; add_incoming tells."""
        made = Phi(type, self.function.fresh())
        self.block.lines.append(made)
        return made

    def ret_void(self) -> None:
        """Return."""
        self.block.lines.append("ret void")

    @contextmanager
    def if_then(self, condition: Value) -> Iterator[None]:
        """What is written inside runs where the condition holds."""
        inside, after = self.append_basic_block("if"), self.append_basic_block("endif")
        self.cbranch(condition, inside, after)
        self.position_at_end(inside)
        yield
        self.branch(after)
        self.position_at_end(after)

    def count(
        self, start: Value, stop: Value, step: Value, body: Callable[[Value], object]
    ) -> None:
        """What `body` writes runs for start, start + step, … below stop; all are positive."""
        before = self.block
        head, inside, after = map(self.append_basic_block, ("head", "loop", "after"))
        self.branch(head)
        self.position_at_end(head)
        index = self.phi(start.type)
        index.add_incoming(start, before)
        self.cbranch(self.icmp_signed("<", index, stop), inside, after)
        self.position_at_end(inside)
        body(index)
        following = self.add(index, step, flags=("nsw", "nuw"))
        index.add_incoming(following, self.block)
        self.branch(head)
        self.position_at_end(after)

    def call(self, function: Function, args: Sequence[Value], flags: str = "") -> Value:
        """The function's result; of no use where it returns nothing. `flags` are of fast math."""
        listed = ", ".join(f"{each.type.text} {each.name}" for each in args)
        result = function.kind.result
        text = f"call {flags}{' ' * bool(flags)}{result.text} {function.name}({listed})"
        if function.may_store:
            self.block.loaded.clear()
        if result.text == "void":
            self.block.lines.append(text)
            return Value(result, "")
        return self._new(result, text)

    def call_pointer(self, pointer: Value, kind: FunctionType, args: Sequence[Value]) -> None:
        """Call what lies at an address and returns nothing."""
        listed = ", ".join(f"{each.type.text} {each.name}" for each in args)
        self.block.lines.append(f"call {kind.result.text} {pointer.name}({listed})")
        self.block.loaded.clear()

    # ── memory ──────────────────────────────────────────────────────────────────────────────────

    def alloca(self, type: Type) -> Value:
        """Room on the stack."""
        return self._new(PointerType(), f"alloca {type.text}")

    def gep(self, pointer: Value, indices: Sequence[Value], source_etype: Type) -> Value:
        """The address of an element."""
        listed = ", ".join(f"{each.type.text} {each.name}" for each in indices)
        text = f"getelementptr {source_etype.text}, ptr {pointer.name}, {listed}"
        return self._named(pointer.type, text)

    def load(self, pointer: Value, typ: Type, align: int | None = None) -> Value:
        """What stands at an address."""
        suffix = f", align {align}" if align else ""
        text = f"load {typ.text}, ptr {pointer.name}{suffix}"
        if (value := self.block.loaded.get(text)) is None:
            value = self.block.loaded[text] = self._new(typ, text)
        return value

    def store(self, value: Value, pointer: Value, align: int | None = None) -> None:
        """Write to an address."""
        suffix = f", align {align}" if align else ""
        line = f"store {value.type.text} {value.name}, ptr {pointer.name}{suffix}"
        self.block.lines.append(line)
        self.block.loaded.clear()

    # ── vectors ─────────────────────────────────────────────────────────────────────────────────

    def insert_element(self, vector: Value, value: Value, lane: Value) -> Value:
        """The vector with another element in a lane."""
        element = f"{value.type.text} {value.name}"
        place = f"{lane.type.text} {lane.name}"
        text = f"insertelement {vector.type.text} {vector.name}, {element}, {place}"
        return self._named(vector.type, text)

    def extract_element(self, vector: Value, lane: Value) -> Value:
        """The element in a lane."""
        assert isinstance(vector.type, VectorType)
        place = f"{lane.type.text} {lane.name}"
        text = f"extractelement {vector.type.text} {vector.name}, {place}"
        return self._named(vector.type.element, text)

    def shuffle_vector(self, first: Value, second: Value, mask: Value) -> Value:
        """Lanes of two vectors of a type, as many as the mask has."""
        assert isinstance(first.type, VectorType)
        assert isinstance(mask.type, VectorType)
        kind = first.type.text
        both = f"{kind} {first.name}, {kind} {second.name}"
        result = VectorType(first.type.element, mask.type.count)
        return self._named(result, f"shufflevector {both}, {mask.type.text} {mask.name}")

    # ── arithmetic ──────────────────────────────────────────────────────────────────────────────

    def add(self, a: Value, b: Value, flags: Sequence[str] = ()) -> Value:
        """a + b."""
        return self._binary("add", a, b, flags)

    def sub(self, a: Value, b: Value, flags: Sequence[str] = ()) -> Value:
        """a - b."""
        return self._binary("sub", a, b, flags)

    def mul(self, a: Value, b: Value, flags: Sequence[str] = ()) -> Value:
        """a * b."""
        return self._binary("mul", a, b, flags)

    def udiv(self, a: Value, b: Value) -> Value:
        """a / b of unsigned integers."""
        return self._binary("udiv", a, b)

    def sdiv(self, a: Value, b: Value) -> Value:
        """a / b of signed integers, toward zero."""
        return self._binary("sdiv", a, b)

    def urem(self, a: Value, b: Value) -> Value:
        """The remainder of udiv."""
        return self._binary("urem", a, b)

    def srem(self, a: Value, b: Value) -> Value:
        """The remainder of sdiv."""
        return self._binary("srem", a, b)

    def shl(self, a: Value, b: Value) -> Value:
        """a shifted left by b."""
        return self._binary("shl", a, b)

    def lshr(self, a: Value, b: Value) -> Value:
        """a shifted right by b, zeros moving in."""
        return self._binary("lshr", a, b)

    def ashr(self, a: Value, b: Value) -> Value:
        """a shifted right by b, the sign moving in."""
        return self._binary("ashr", a, b)

    def fadd(self, a: Value, b: Value) -> Value:
        """a + b."""
        return self._binary("fadd", a, b)

    def fsub(self, a: Value, b: Value) -> Value:
        """a - b."""
        return self._binary("fsub", a, b)

    def fmul(self, a: Value, b: Value) -> Value:
        """a * b."""
        return self._binary("fmul", a, b)

    def fdiv(self, a: Value, b: Value) -> Value:
        """a / b."""
        return self._binary("fdiv", a, b)

    def and_(self, a: Value, b: Value) -> Value:
        """Bitwise and."""
        return self._binary("and", a, b)

    def or_(self, a: Value, b: Value) -> Value:
        """Bitwise or."""
        return self._binary("or", a, b)

    def xor_(self, a: Value, b: Value) -> Value:
        """Bitwise exclusive or."""
        return self._binary("xor", a, b)

    def sitofp(self, value: Value, type: Type) -> Value:
        """A signed integer as floating point."""
        return self._convert("sitofp", value, type)

    def uitofp(self, value: Value, type: Type) -> Value:
        """An unsigned integer as floating point."""
        return self._convert("uitofp", value, type)

    def fptosi(self, value: Value, type: Type) -> Value:
        """Floating point as a signed integer, toward zero."""
        return self._convert("fptosi", value, type)

    def fptoui(self, value: Value, type: Type) -> Value:
        """Floating point as an unsigned integer, toward zero."""
        return self._convert("fptoui", value, type)

    def fpext(self, value: Value, type: Type) -> Value:
        """To a wider floating-point type."""
        return self._convert("fpext", value, type)

    def fptrunc(self, value: Value, type: Type) -> Value:
        """To a narrower floating-point type."""
        return self._convert("fptrunc", value, type)

    def trunc(self, value: Value, type: Type) -> Value:
        """To a narrower integer."""
        return self._convert("trunc", value, type)

    def zext(self, value: Value, type: Type) -> Value:
        """To a wider integer, zeros in front."""
        return self._convert("zext", value, type)

    def sext(self, value: Value, type: Type) -> Value:
        """To a wider integer, the sign in front."""
        return self._convert("sext", value, type)

    def bitcast(self, value: Value, type: Type) -> Value:
        """The same bits as another type."""
        return self._convert("bitcast", value, type)

    def select(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """`then` where the condition holds, lane by lane if it has lanes."""
        kind = then.type.text
        text = f"select {condition.type.text} {condition.name}, {kind} {then.name}"
        return self._named(then.type, f"{text}, {kind} {otherwise.name}")

    def icmp_signed(self, sign: str, a: Value, b: Value) -> Value:
        """A comparison of integers."""
        name = _CONDITIONS[sign]
        return self._compare("icmp", name if name in ("eq", "ne") else f"s{name}", a, b)

    def icmp_unsigned(self, sign: str, a: Value, b: Value) -> Value:
        """A comparison of unsigned integers."""
        name = _CONDITIONS[sign]
        return self._compare("icmp", name if name in ("eq", "ne") else f"u{name}", a, b)

    def fcmp_ordered(self, sign: str, a: Value, b: Value) -> Value:
        """A comparison that is false where an operand is NaN."""
        return self._compare("fcmp", f"o{_CONDITIONS[sign]}", a, b)

    def fcmp_unordered(self, sign: str, a: Value, b: Value) -> Value:
        """A comparison that is true where an operand is NaN; `uno` is nothing but that."""
        return self._compare("fcmp", "uno" if sign == "uno" else f"u{_CONDITIONS[sign]}", a, b)

    def _binary(self, operation: str, a: Value, b: Value, flags: Sequence[str] = ()) -> Value:
        mnemonic = " ".join([operation, *flags])
        return self._named(a.type, f"{mnemonic} {a.type.text} {a.name}, {b.name}")

    def _convert(self, operation: str, value: Value, type: Type) -> Value:
        return self._named(type, f"{operation} {value.type.text} {value.name} to {type.text}")

    def _compare(self, operation: str, condition: str, a: Value, b: Value) -> Value:
        kind: Type = IntType(1)
        if isinstance(a.type, VectorType):
            kind = VectorType(kind, a.type.count)
        return self._named(kind, f"{operation} {condition} {a.type.text} {a.name}, {b.name}")

    def _named(self, type: Type, text: str) -> Value:
        """The value of an instruction that depends on its operands alone."""
        if (value := self.block.known.get(text)) is None:
            value = self.block.known[text] = self._new(type, text)
        return value

    def _new(self, type: Type, text: str) -> Value:
        name = self.function.fresh()
        self.block.lines.append(f"{name} = {text}")
        return Value(type, name)
