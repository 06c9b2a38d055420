"""A network for Python that runs on the shim, where streams do their work as late as they may."""

import ctypes
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cnnc.api import Model
from cnnc.backends.cuda import backend
from cnnc.backends.cuda.executable import CudaExecutable
from cnnc.backends.cuda.toolchain import Gpu, Nvcc
from cnnc.base.store import Store
from cnnc.compiled import Compiled
from tests.cuda.shim import FLAGS, SHIM

_MORE = """
extern "C" int test_stream(void **made)
{
    return cudaStreamCreateWithFlags((cudaStream_t *)made, cudaStreamNonBlocking);
}
extern "C" int test_begin(void *stream)
{
    return cudaStreamBeginCapture((cudaStream_t)stream, cudaStreamCaptureModeGlobal);
}
extern "C" int test_end(void *stream, void **made)
{
    cudaGraph_t graph;
    const cudaError_t error = cudaStreamEndCapture((cudaStream_t)stream, &graph);
    return error != cudaSuccess ? error : cudaGraphInstantiate((cudaGraphExec_t *)made, graph, 0);
}
extern "C" int test_replay(void *graph, void *stream)
{
    return cudaGraphLaunch((cudaGraphExec_t)graph, (cudaStream_t)stream);
}
extern "C" int test_write(void *to, const void *from, size_t bytes, void *stream)
{
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, (cudaStream_t)stream);
}
extern "C" int test_allocate(size_t bytes, int device, void **made)
{
    cudaSetDevice(device);
    const cudaError_t error = cudaMalloc(made, bytes);
    cudaSetDevice(0);
    return error;
}
extern "C" int test_set_device(int device)
{
    return cudaSetDevice(device);
}
extern "C" int test_device()
{
    return cnnc_shim::current_device;
}
extern "C" int test_allocations()
{
    return (int)cnnc_shim::allocations.size();
}
extern "C" int test_overlapping()
{
    return (int)cnnc_shim::overlapping;
}
"""


@contextmanager
def late_streams() -> Iterator[None]:
    """Whatever nothing orders comes in the wrong order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNC_SHIM_STREAMS", "late")
        yield


def compile_for_streams(model: Model, folder: Path, *flags: str) -> Compiled:
    """A network for a GPU that is none, in a library that tests can ask more of."""

    def build(
        nvcc: Nvcc, arch: int, files: Mapping[str, bytes], main: str, store: Store | None
    ) -> bytes:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        (folder / "all.cc").write_text(f'#include "{main}"\n{_MORE}')
        command = ["g++", *FLAGS, "-O1", "-w", f"-I{SHIM}", *flags, "all.cc", "-o", "net.so"]
        subprocess.run(command, check=True, cwd=folder)
        return (folder / "net.so").read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "require", lambda: (Nvcc(folder, ()), Gpu("shim", 90)))
        patch.setattr(backend, "build", build)
        return model.compile(target="cuda")


class Shim:
    """The runtime of a network's library; functions of C return 0, or it is an error."""

    def __init__(self, network: Compiled) -> None:
        executable = network.executable
        assert isinstance(executable, CudaExecutable)
        self.gpu = executable
        self.library = executable._library

    def call(self, verb: str, *arguments: object) -> int:
        """What a function returns; numbers are pointers or sizes."""
        passed = [ctypes.c_void_p(e) if isinstance(e, int) else e for e in arguments]
        return int(getattr(self.library, f"test_{verb}")(*passed))

    def stream(self) -> int:
        """A stream that no other one waits for."""
        made = ctypes.c_void_p()
        assert self.call("stream", ctypes.byref(made)) == 0
        return made.value or 0

    def end(self, stream: int) -> int:
        """The graph of what was captured."""
        made = ctypes.c_void_p()
        assert self.call("end", stream, ctypes.byref(made)) == 0
        return made.value or 0

    def allocate(self, size: int, device: int = 0) -> int:
        """Memory of a GPU."""
        made = ctypes.c_void_p()
        assert self.call("allocate", size, ctypes.c_int(device), ctypes.byref(made)) == 0
        return made.value or 0

    @property
    def allocations(self) -> int:
        """How many pieces of memory there are."""
        return self.call("allocations")


class Lying:
    """An array of another library: it lies somewhere, and is written by a stream some time."""

    def __init__(self, shim: Shim, values: np.ndarray, stream: int = 0, device: int = 0) -> None:
        self.shim, self.values, self.stream = shim, values, stream
        self.pointer = shim.allocate(values.nbytes, device)
        if not device:
            shim.call("write", self.pointer, values.ctypes.data, values.nbytes, stream)

    def interface(self, version: int = 3, *, read_only: bool = False) -> object:
        """It as it shows itself without DLPack; old versions do not say which stream it is."""
        shown: dict[str, object] = {
            "shape": self.values.shape,
            "typestr": self.values.dtype.str,
            "data": (self.pointer, read_only),
            "version": version,
        }
        if version >= 3:
            shown["stream"] = self.stream or 1
        return type("Shown", (), {"__cuda_array_interface__": shown})()
