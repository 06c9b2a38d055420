"""The backend `cuda`: compiles with nvcc and runs on the first GPU."""

from cnnc.backends.base import Executable
from cnnc.backends.cuda.executable import CudaExecutable
from cnnc.backends.cuda.folder import emit_module
from cnnc.backends.cuda.plan import plan_cuda
from cnnc.backends.cuda.toolchain import build, load_library, require
from cnnc.base.errors import fail
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.kernel import Program

PREFIX = "net"
"""What begins the symbols: a network's own name need not be one in C."""


class CudaBackend:
    """See Backend; threads are those of the GPU, whatever is asked for."""

    name = "cuda"

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> Executable:
        """See Backend; UserError without a GPU, a driver or nvcc, or for a GPU that is older."""
        plan = plan_cuda(program, target, PREFIX)
        nvcc, gpu = require()
        if gpu.arch < plan.arch:
            raise fail(
                "E0801",
                f"the code is for sm_{plan.arch}, and the {gpu.name} here is sm_{gpu.arch}",
                help="cnnc's kernels need sm_80 (Ampere) or later" if plan.arch == 80 else None,
            )
        library = build(nvcc, gpu.arch, emit_module(plan), f"{PREFIX}_module.cu", store)
        return CudaExecutable(program, plan, load_library(library))


BACKEND = CudaBackend()
