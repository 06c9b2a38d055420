"""What a device kernel is to the host code: its text and how it is launched."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from cnnc.base.half import HALVES, Half
from cnnc.base.layout import Shape
from cnnc.base.record import record

Bytes = NDArray[np.uint8]
WORKSPACE = "workspace"
COUNTERS = "counters"


@record
class Packing:
    """A constant as a kernel asks for it: `pack` turns the row-major array into so many bytes."""

    argument: str
    bytes: int
    pack: Callable[[NDArray[np.generic]], Bytes]
    key: str
    """Equal keys for the same constant mean equal bytes, which are then stored once."""


@record
class Samples:
    """How a grid follows the samples of a run, where these may be fewer than the batch.

    Along `axis` it has as many blocks as are needed for `each` per sample, `block` of them in a
    block, and `times` as many of these. If it `takes` the number of samples, that is the last
    parameter, an `int`.
    """

    axis: int
    each: int
    block: int
    takes: bool = False
    times: int = 1


@record
class CudaKernel:
    """One `__global__` function and its launch.

    `source` is the text of the function, and of what it needs beside the primitives, without
    includes. `arguments` names what it takes, in order: buffers of the task (`x`, `weight`, …, the
    result is `y`), which arrive as pointers to their elements, `workspace` (a `float *`) and
    `counters` (an `unsigned *`). Sizes are in bytes. The `counters` are so many numbers that are
    zero at the first launch, and that the kernel leaves zero. Without `samples`, it always computes
    the whole batch. `packings` are for constants that do
    not lie as the task's buffers say. Unless it `starts_early`, it begins when the kernel in front
    of it has ended.
    """

    name: str
    source: str
    arguments: tuple[str, ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    workspace_bytes: int = 0
    counters: int = 0
    packings: tuple[Packing, ...] = ()
    samples: Samples | None = None
    comment: str = ""
    starts_early: bool = True

    @property
    def threads(self) -> int:
        """Threads of a block."""
        x, y, z = self.block
        return x * y * z


@record
class Wish:
    """What an offer may count on: `arch` is 80 for sm_80; `precision` is `f32`, `f32_exact`,
    `tf32`, `bf16` or `f16`; `name` is what the function has to be called; `multiprocessors` there
    are on the GPU that estimates are for. With `takes_samples`, a run may bring fewer samples than
    the batch, and others must not be touched. All tensors begin at multiples of `alignment` bytes,
    16 at most. Elements of the `narrow` parameters are of `half` in memory, other ones float32."""

    name: str
    arch: int = 80
    precision: str = "f32"
    multiprocessors: int = 132
    takes_samples: bool = False
    alignment: int = 16
    narrow: frozenset[str] = frozenset()

    @property
    def half(self) -> Half | None:
        """The type of 16 bits that the precision multiplies in; None where there is none."""
        return HALVES.get(self.precision)

    @property
    def weight_type(self) -> str:
        """The type of packed weights, in the kernels' text."""
        return f"cnnc::{self.half.name}" if self.half else "float"

    @property
    def weight_bytes(self) -> int:
        """Bytes of a packed weight."""
        return self.half.bytes if self.half else 4

    @property
    def types(self) -> Mapping[str, str]:
        """The types of the narrow parameters, in the kernels' text."""
        return dict.fromkeys(sorted(self.narrow), self.weight_type)

    def bytes_of(self, name: str) -> int:
        """Bytes of an element of a parameter that is not packed."""
        return 2 if name in self.narrow else 4

    def neighbours(self, name: str) -> int:
        """How many neighbouring elements of a parameter are loaded at once, 16 bytes at most."""
        return max(1, self.alignment // self.bytes_of(name))


def elements(shape: Shape) -> int:
    """How many elements a shape has."""
    total = 1
    for extent in shape:
        total *= extent
    return total
