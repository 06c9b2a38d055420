"""What a kernel is called with behind its buffers: the one place that knows the order."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import TypeVar

from cnnc.loop.kernel import Kernel

T = TypeVar("T")


class Argument(Enum):
    """A kernel's arguments behind its buffers, in their order."""

    SCRATCH = auto()
    """Memory of the calling thread's own, where the kernel needs some."""
    THREAD = auto()
    THREADS = auto()
    BARRIER = auto()
    """The runtime's, where threads take iterations from each other."""
    SAMPLES = auto()
    """How many there are, where that is not fixed."""

    @property
    def is_pointer(self) -> bool:
        """Whether it is an address; all others are words."""
        return self in (Argument.SCRATCH, Argument.BARRIER)


def arguments_of(kernel: Kernel) -> tuple[Argument, ...]:
    """Those that the kernel takes behind its buffers."""
    optional = {
        Argument.SCRATCH: bool(kernel.scratch_bytes),
        Argument.BARRIER: kernel.is_handed_out,
        Argument.SAMPLES: kernel.takes_samples,
    }
    return tuple(argument for argument in Argument if optional.get(argument, True))


def in_order(kernel: Kernel, values: Mapping[Argument, T]) -> list[T]:
    """The values that the kernel takes behind its buffers, of those there are."""
    return [values[argument] for argument in arguments_of(kernel)]
