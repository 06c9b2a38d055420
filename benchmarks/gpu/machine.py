"""What is measured on: a GPU, or, to try the script out, the CPU in its place."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import cnnc
from cnnc.backends.cuda import backend
from cnnc.backends.cuda.toolchain import Gpu, Nvcc
from cnnc.base.store import Store

if TYPE_CHECKING:
    import torch

SHIM = Path(cnnc.__file__).resolve().parents[1] / "templates" / "cuda" / "shim"
ON_CPU = ("-O1", "-std=c++17", "-w", "-ffp-contract=off", "-fno-strict-aliasing", f"-I{SHIM}")
"""How g++ compiles CUDA for the CPU."""
Run = Callable[[], object]


@dataclass(frozen=True)
class Captured:
    """A graph, and the run that was captured: what that reads and writes has to live as long."""

    run: Run
    replay: Run

    def __call__(self) -> object:
        """Replays the graph."""
        return self.replay()


@dataclass(frozen=True)
class Machine:
    """A GPU with its compiler; without a compiler, the CPU, where times mean nothing."""

    gpu: Gpu
    nvcc: Nvcc | None

    @property
    def is_dry(self) -> bool:
        """Whether nothing is measured."""
        return self.nvcc is None

    @property
    def device(self) -> str:
        """What torch calls it."""
        return "cpu" if self.is_dry else "cuda"

    def compile(self, source: Path, made: Path, flags: Sequence[str] = ()) -> Path:
        """A program of a source, or with `-shared` in the flags a library."""
        if self.nvcc is None:
            host = ["-fPIC"] if "-shared" in flags else []
            command = ["g++", *ON_CPU, *host, *flags, "-xc++", str(source), "-o", str(made)]
        else:
            own = ["-std=c++17", "-O3", "--fmad=false", f"-arch=sm_{self.gpu.arch}"]
            own += ["--diag-suppress=177"]  # sizes that a kernel has no use for
            own += ["-Xcompiler", "-fPIC", *flags, *self.nvcc.flags]
            command = [str(self.nvcc.path), *own, str(source), "-o", str(made)]
        subprocess.run(command, check=True)
        return made

    def milliseconds(self, run: Run, repeats: int = 10) -> float:
        """Of one run, by events around several on the GPU, by a clock on the CPU."""
        if self.is_dry:
            start = perf_counter()
            run()
            return 1000 * (perf_counter() - start)
        import torch

        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        run()
        begin.record()
        for _ in range(repeats):
            run()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / repeats

    def captured(self, run: Run, count: int = 1) -> Run:
        """So many runs as one graph, after three that choose algorithms and allocate.

        All happen in one stream: whatever keeps something for each stream has it before the
        capture, in which nothing may be allocated.
        """
        if self.is_dry:
            run()
            return run
        import torch

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            for _ in range(count):
                run()
        return Captured(run, graph.replay)

    def put(self, array: object, dtype: "torch.dtype | None" = None) -> "torch.Tensor":
        """An array in the machine's memory."""
        import torch

        return torch.as_tensor(array).to(self.device, dtype)


def pretend() -> Machine:
    """The CPU in place of a GPU, for what cnnc compiles too."""
    made = Machine(Gpu("the CPU", 90), None)
    backend.require = lambda: (Nvcc(Path("g++"), ()), made.gpu)
    backend.build = _build_on_cpu
    return made


def _build_on_cpu(
    nvcc: Nvcc, arch: int, files: Mapping[str, bytes], main: str, store: Store | None
) -> bytes:
    """See toolchain.build."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for name, data in files.items():
            (place / name).write_bytes(data)
        command = ["g++", *ON_CPU, "-fPIC", "-shared", "-xc++", main, "-o", "net.so"]
        subprocess.run(command, check=True, cwd=place)
        return (place / "net.so").read_bytes()
