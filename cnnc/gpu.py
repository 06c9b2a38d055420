"""What there is of a GPU here, and source code for one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.loop.kernel import Program
from cnnc.lowering.lowered import Lowered
from cnnc.version import __version__

if TYPE_CHECKING:
    from cnnc.backends.cuda.executable import CudaExecutable
    from cnnc.backends.cuda.toolchain import Gpu, Nvcc


def find_gpu() -> "tuple[Gpu | None, Nvcc | None]":
    """The first GPU here, and the compiler for it."""
    from cnnc.backends.cuda import toolchain

    return toolchain.find_gpu(), toolchain.find_nvcc()


@record
class Need:
    """What code for a GPU takes: launches of a run, distinct kernels, bytes in its memory."""

    launches: int
    kernels: int
    weights_bytes: int
    arena_bytes: int


def measure_need(program: Program, target: Target) -> Need:
    """What `emit_cuda` makes of a program, in numbers; its weights are packed."""
    from cnnc.backends.cuda.backend import PREFIX
    from cnnc.backends.cuda.plan import plan_cuda

    plan = plan_cuda(program, target, PREFIX)
    counts = len(plan.launches), len(plan.kernels)
    return Need(*counts, plan.abi.weights_bytes, plan.arena_bytes)


def precision_names() -> tuple[str, ...]:
    """The words for a precision in the name of a target."""
    from cnnc.backends.cuda.targets import PRECISIONS

    return tuple(PRECISIONS)


def precision(target: Target) -> str:
    """What a GPU's target says of how products are computed, in words."""
    from cnnc.backends.cuda.targets import PRECISIONS

    return PRECISIONS[target.features]


def emit_cuda(
    lowered: Lowered, target: Target, name: str | None = None, summary: Sequence[str] = ()
) -> Mapping[str, bytes]:
    """The files of a folder that nvcc makes a library of, by name (docs/cuda.md).

    `name` begins all symbols, `summary` are lines on what was compiled. UserError for the name.
    """
    from cnnc.backends.cuda.folder import emit_cuda
    from cnnc.backends.cuda.plan import plan_cuda

    return emit_cuda(plan_cuda(lowered.program, target, name), __version__, summary)


def show_cuda(lowered: Lowered, kernel: int | None, target: Target) -> str:
    """The CUDA C++ of one distinct kernel, or of the whole network.

    Of a layer that others are joined with, it is the kernel of all of them.
    """
    from cnnc.backends.cuda.folder import emit_sources
    from cnnc.backends.cuda.plan import plan_cuda

    plan = plan_cuda(lowered.program, target)
    if kernel is None:
        summary = f"target   cuda:{target.cpu},{target.features} ({precision(target)})"
        return emit_sources(plan, __version__, [summary])[f"{plan.abi.name}.cu"].decode()
    loops = lowered.program.kernels[kernel]
    joined = [each for each in plan.launches if any(loops is part for part in each.joined)]
    return (joined or [plan.launch_of(kernel)])[0].kernel.source


def find_gpu_runner(runner: object) -> "CudaExecutable | None":
    """What runs on a GPU, if it is one; asks for no library of its own."""
    if not hasattr(runner, "run_on_device"):
        return None
    from cnnc.backends.cuda.executable import CudaExecutable

    return runner if isinstance(runner, CudaExecutable) else None
