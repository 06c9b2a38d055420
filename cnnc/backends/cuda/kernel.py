"""What a device kernel is to the host code: its text and how it is launched."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

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
    block. If it `takes` their number, that is the last parameter, an `int`.
    """

    axis: int
    each: int
    block: int
    takes: bool = False


@record
class CudaKernel:
    """One `__global__` function and its launch.

    `source` is the text of the function, and of what it needs beside the primitives, without
    includes. `arguments` names what it takes, in order: buffers of the task (`x`, `weight`, …, the
    result is `y`), which arrive as pointers to their elements, `workspace` (a `float *`) and
    `counters` (an `unsigned *`). Sizes are in bytes. The `counters` are so many numbers that are
    zero at the first launch, and that the kernel leaves zero. Without `samples`, it always computes
    the whole batch. `packings` are for constants that do
    not lie as the task's buffers say.
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
    16 at most."""

    name: str
    arch: int = 80
    precision: str = "f32"
    multiprocessors: int = 132
    takes_samples: bool = False
    alignment: int = 16


def elements(shape: Shape) -> int:
    """How many elements a shape has."""
    total = 1
    for extent in shape:
        total *= extent
    return total
