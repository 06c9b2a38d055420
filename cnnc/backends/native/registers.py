"""Register arrays in LLVM IR: slots on the stack, which LLVM makes registers of.

What a block stores in a slot is known until its end: it is not read from the slot, and only what
is there at the end is written. So LLVM reads a fraction of what unrolled loops do to slots.
"""

from collections.abc import Mapping

from cnnc.backends.native import ir, values
from cnnc.loop.expr import Buffer


class Registers:
    """Where register arrays lie, and what slots hold in the block that is being written.

    `widths` are the lanes of the slots of each array, which are numbered from 0.
    """

    def __init__(
        self, builder: ir.IRBuilder, entry: ir.Block, widths: Mapping[str, int], word: ir.IntType
    ) -> None:
        self._builder, self._word = builder, word
        self._entry = ir.IRBuilder(entry)
        self._widths = widths
        self._places: dict[str, ir.Value] = {}
        self._held: dict[tuple[str, int], ir.Value] = {}
        self._unwritten: dict[tuple[str, int], tuple[Buffer, ir.Value]] = {}

    def allocate(self, buffer: Buffer) -> ir.Value:
        """Slots that hold nothing yet; where the first one lies."""
        self.settle()
        array = ir.ArrayType(self.kind(buffer), buffer.size // self._widths[buffer.name])
        place = self._places[buffer.name] = self._entry.alloca(array)
        return place

    def kind(self, buffer: Buffer) -> ir.Type:
        """The type of what a slot holds."""
        return values.memory_type(buffer.dtype, self._widths[buffer.name])

    def load(self, buffer: Buffer, slot: int) -> ir.Value:
        """What a slot holds."""
        key = buffer.name, slot
        if (value := self._held.get(key)) is None:
            value = self._builder.load(self._address(buffer, slot), typ=self.kind(buffer))
            self._held[key] = value
        return value

    def store(self, buffer: Buffer, slot: int, value: ir.Value) -> None:
        """Have a slot hold a value."""
        key = buffer.name, slot
        self._held[key] = value
        self._unwritten[key] = buffer, value

    def settle(self) -> None:
        """Write what slots hold: where the block ends, or it is not known which one is accessed."""
        for (_, slot), (buffer, value) in self._unwritten.items():
            self._builder.store(value, self._address(buffer, slot))
        self._unwritten.clear()
        self._held.clear()

    def _address(self, buffer: Buffer, slot: int) -> ir.Value:
        place = self._places[buffer.name]
        if not slot:
            return place
        return self._builder.gep(place, [self._word(slot)], source_etype=self.kind(buffer))
