"""Vectors: in memory neighbours, some lanes of a register, or far apart; or lanes of others."""

from collections.abc import Callable, Sequence
from functools import cache

from cnnc.backends.native import ir, values
from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.loop.expr import Expr, Ramp

I32 = ir.IntType(32)
Address = Callable[[Expr], ir.Value]


@record
class Memory:
    """Where vectors lie: elements of a type at `address`, aligned to `align` bytes if it is known.

    `has_masks`: the machine loads some lanes of a vector alone. It stores them so, too, but what
    reads beside them waits until they are in the cache (Zen 5): they are stored in parts.
    """

    dtype: DType
    address: Address
    align: int | None
    has_masks: bool

    def load(self, builder: ir.IRBuilder, index: Ramp) -> ir.Value:
        """The elements at these places."""
        lanes = index.lanes
        kind = values.memory_type(self.dtype, lanes)
        if index.stride == 1:
            pointer = self.address(index.base)
            if self._is_masked(lanes):
                return self._load_some(builder, pointer, kind)
            return builder.load(pointer, align=self.align, typ=kind)
        if index.stride == 2 and self.align is not None:
            starts = (index.base, index.base + (lanes - 1))
            first, last = (
                builder.load(self.address(at), align=self.align, typ=kind) for at in starts
            )
            # the last element of one vector is the first of the other: nothing behind is read
            places = [2 * lane if 2 * lane < lanes else 2 * lane + 1 for lane in range(lanes)]
            return builder.shuffle_vector(
                first, last, ir.Constant(ir.VectorType(I32, lanes), places)
            )
        one = values.memory_type(self.dtype, 1)
        vector: ir.Value = ir.Constant(kind, ir.Undefined)
        for lane in range(lanes):
            pointer = self.address(index.base + lane * index.stride)
            part = builder.load(pointer, align=self.align, typ=one)
            vector = builder.insert_element(vector, part, I32(lane))
        return vector

    def store(self, builder: ir.IRBuilder, value: ir.Value, index: Ramp) -> None:
        """Store a vector at these places, or a number in all of them."""
        value = values.splat(builder, value, index.lanes)
        if index.stride != 1:
            for lane in range(index.lanes):
                part = builder.extract_element(value, I32(lane))
                builder.store(part, self.address(index.base + lane * index.stride), self.align)
        else:
            builder.store(value, self.address(index.base), align=self.align)

    def _is_masked(self, lanes: int) -> bool:
        """Whether so many lanes are loaded with a mask; without one they would be in parts."""
        return self.has_masks and self.align is not None and lanes & (lanes - 1) != 0

    def _load_some(self, builder: ir.IRBuilder, pointer: ir.Value, kind: ir.Type) -> ir.Value:
        """A vector of fewer lanes than a register has; memory behind is not read."""
        assert isinstance(kind, ir.VectorType)
        assert self.align is not None
        wide, mask = _masked(kind)
        name = f"llvm.masked.load.{wide.intrinsic_name}.p0"
        function = values.declared(builder, name, wide, [pointer.type, I32, mask.type, wide])
        nothing = ir.Constant(wide, ir.Undefined)
        loaded = builder.call(function, [pointer, I32(self.align), mask, nothing])
        return _with_lanes(builder, loaded, kind.count)


def taken(builder: ir.IRBuilder, parts: Sequence[ir.Value], places: Sequence[int]) -> ir.Value:
    """A vector of the lanes at these places of all parts, counted one part behind the other."""
    count = len(places)
    made, *rest = parts
    here = [place if place < count else 0 for place in places]
    for number, part in enumerate(rest or parts, 1):
        first = number * count
        here = [
            place - first + count if first <= place < first + count else kept
            for place, kept in zip(places, here, strict=True)
        ]
        made = builder.shuffle_vector(made, part, ir.Constant(ir.VectorType(I32, count), here))
        here = list(range(count))
    return made


@cache
def _masked(kind: ir.VectorType) -> tuple[ir.VectorType, ir.Value]:
    """The next larger vector that a register may hold, and which of its lanes are those."""
    lanes = 1 << (kind.count - 1).bit_length()
    of_kind = [int(lane < kind.count) for lane in range(lanes)]
    mask = ir.Constant(ir.VectorType(ir.IntType(1), lanes), of_kind)
    return ir.VectorType(kind.element, lanes), mask


def _with_lanes(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """The first lanes of a vector; those it has not are anything."""
    assert isinstance(value.type, ir.VectorType)
    element, count = value.type.element, value.type.count
    places = ir.Constant(ir.VectorType(I32, lanes), [min(lane, count) for lane in range(lanes)])
    return builder.shuffle_vector(value, values.undefined(element, count), places)
