"""The backend `cuda`: compiles with nvcc and runs on the first GPU."""

from dataclasses import replace

from cnnc.backends.base import Executable
from cnnc.backends.cuda.executable import CudaExecutable
from cnnc.backends.cuda.folder import emit_module
from cnnc.backends.cuda.plan import plan_cuda
from cnnc.backends.cuda.targets import MULTIPROCESSORS
from cnnc.backends.cuda.toolchain import Gpu, build, load_library, require
from cnnc.base.errors import fail
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.kernel import Program

PREFIX = "net"
"""What begins the symbols: a network's own name need not be one in C."""


def own_target(target: Target, gpu: Gpu) -> Target:
    """The same target for the GPU that is here: what is compiled runs on no other."""
    count = gpu.multiprocessors or MULTIPROCESSORS.get(gpu.arch, target.cores)
    return replace(target, cpu=f"sm_{gpu.arch}", cores=count)


class CudaBackend:
    """See Backend; threads are those of the GPU, whatever is asked for."""

    name = "cuda"

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> Executable:
        """See Backend; UserError without a GPU, a driver or nvcc, or for a GPU that is older."""
        arch = int(target.cpu.removeprefix("sm_"))
        nvcc, gpu = require()
        if gpu.arch < arch:
            raise fail(
                "E0801",
                f"the code is for sm_{arch}, and the {gpu.name} here is sm_{gpu.arch}",
                help="cnnc's kernels need sm_80 (Ampere) or later" if arch == 80 else None,
            )
        plan = plan_cuda(program, own_target(target, gpu), PREFIX)
        library = build(nvcc, gpu.arch, emit_module(plan), f"{PREFIX}_module.cu", store)
        return CudaExecutable(program, plan, load_library(library))


BACKEND = CudaBackend()
