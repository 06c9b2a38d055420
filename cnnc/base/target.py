"""The machine code is made for, as plain facts, so that lowering never asks a backend."""

from cnnc.base.dtype import DType
from cnnc.base.half import HALVES, Half
from cnnc.base.record import record

GPU = "nvptx64"
"""The architecture of NVIDIA's GPUs in a triple."""
LINE = 64
"""Bytes of a line of memory, as caches have it."""
WIDEST = 512
"""Bits of the widest vectors that any of these machines has."""
VECTOR_UNITS = 2
"""Of most processors, and of those that are not known."""


@record
class Rounding:
    """What a machine rounds beside results to their types.

    Factors of products that are summed may be off by `factors`, relative to themselves, and float32
    tensors between layers are kept as `stored`.
    """

    factors: float = 0.0
    stored: Half | None = None


NOTHING = Rounding()
"""Of most machines."""


@record
class Target:
    """A machine. Sizes in bytes; caches are those one core sees.

    `vector_bits` is the widest vector worth using and `vector_registers` how many there are; where
    vectors are not worth it, they hold one float. `has_fma` says whether a multiply-add is one
    instruction; `vector_units` of them, and as many loads, begin in a cycle. `features` are LLVM's.
    One that `is_small` has little memory for code. With `mixed_cores` some are slower than others.
    """

    triple: str
    cpu: str
    features: str
    vector_bits: int
    vector_registers: int
    has_fma: bool
    l1_bytes: int = 32 * 1024
    l2_bytes: int = 256 * 1024
    l3_bytes: int = 0
    cores: int = 1
    is_small: bool = False
    vector_units: int = VECTOR_UNITS
    mixed_cores: bool = False

    def lanes(self, dtype: DType) -> int:
        """Elements of the type in one vector register; one where there are no vectors."""
        return self.vector_bits // (8 * dtype.bytes) if self.vector_bits > 32 else 1

    def fuses(self, dtype: DType) -> bool:
        """Whether a multiply-add of the type is one instruction; some units have floats alone."""
        no_double = "d16sp" in self.features
        if self.architecture.startswith("riscv"):
            no_double = "+d" not in self.features
        return self.has_fma and not (dtype is DType.F64 and no_double)

    @property
    def halves_vectors(self) -> bool:
        """Whether half of the widest vector takes half the time: units do those in two turns."""
        return self.vector_bits == WIDEST and self.vector_units == 1

    @property
    def architecture(self) -> str:
        """The first part of the triple."""
        return self.triple.partition("-")[0]

    @property
    def pointer_bits(self) -> int:
        """Bits of an address, and of what counts elements."""
        wide = ("x86_64", "aarch64", "arm64", "riscv64", "wasm64", GPU)
        return 64 if self.architecture in wide else 32

    @property
    def is_gpu(self) -> bool:
        """Whether loops become threads of a GPU, one for each result."""
        return self.architecture == GPU

    @property
    def rounding(self) -> Rounding:
        """What is rounded beside results; a GPU's precision is its only feature."""
        if half := HALVES.get(self.features):
            return Rounding(half.roundoff, half)
        return Rounding(2.0**-11) if self.features == "tf32" else NOTHING

    @property
    def multiplies_by_lane(self) -> bool:
        """Whether a multiply-add takes one lane of a register as a factor (NEON).

        Scalars that are neighbours in memory then arrive as one vector rather than one by one.
        """
        return self.triple.startswith(("aarch64", "arm64"))

    @property
    def tuning(self) -> str:
        """The processor whose timing LLVM schedules instructions for: its family, not its model.

        With the models of some processors (Zen 4 and 5 in LLVM 22) loads move so far ahead of their
        use that accumulators spill.
        """
        if not self.triple.startswith("x86_64"):
            return self.cpu
        return {512: "x86-64-v4", 256: "x86-64-v3"}.get(self.vector_bits, "x86-64")
