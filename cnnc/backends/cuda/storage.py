"""As what tensors lie in a GPU's memory.

With the precisions `bf16` and `f16`, float32 tensors between layers have 16 bits in memory: they
are rounded when they are stored, and computed with as float32. All else stays as it is: inputs and
outputs of the network, which are the caller's; constants, but those that a kernel has packed as it
multiplies them; tensors of other types, such as indices; partial sums of blocks.
"""

from cnnc.base.dtype import DType
from cnnc.base.half import HALVES, Half
from cnnc.base.record import record
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Kernel, Place, Program, Region, Step, align


@record
class Storage:
    """The arena: rounded tensors at half their offsets, all others behind `others`.

    Offsets of a program are those for float32. Two tensors that may share memory there are still
    apart where both are halved, and neither meets one of the other kind.
    """

    half: Half | None
    others: int
    bytes: int

    @staticmethod
    def of(program: Program, precision: str) -> "Storage":
        """That of a program."""
        half = HALVES.get(precision)
        if half is None:
            return Storage(None, 0, align(program.arena_bytes))
        halved = align(program.arena_bytes // 2)
        are_all = all(
            param.dtype is DType.F32
            for step in program.steps
            for place, param in zip(step.places, program.kernels[step.kernel].params, strict=True)
            if place.region is Region.ARENA
        )
        return Storage(half, halved, halved if are_all else halved + align(program.arena_bytes))

    def narrow(self, step: Step, kernel: Kernel) -> frozenset[str]:
        """The parameters whose elements have 16 bits."""
        named = zip(step.places, kernel.params, strict=True)
        return frozenset(param.name for place, param in named if self._is_narrow(place, param))

    def offset(self, place: Place, param: Buffer) -> int:
        """Where a parameter begins in its region."""
        if place.region is not Region.ARENA or self.half is None:
            return place.offset
        return place.offset // 2 if self._is_narrow(place, param) else self.others + place.offset

    def _is_narrow(self, place: Place, param: Buffer) -> bool:
        is_float = param.dtype is DType.F32 and place.region is Region.ARENA
        return self.half is not None and is_float
