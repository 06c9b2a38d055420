"""Kernels that do the work of several steps, one behind the other."""

from cnnc.backends.cuda.kernel import CudaKernel
from cnnc.base.record import record


@record
class Source:
    """A parameter of one of the tasks."""

    task: int
    param: str


@record
class Joined:
    """A kernel for several tasks, and what its arguments are: None for workspace and counters."""

    kernel: CudaKernel
    arguments: tuple[tuple[str, Source | None], ...]
