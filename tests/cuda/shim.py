"""Generated CUDA compiled by g++ and run on the CPU."""

import ctypes
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnc.api import Model
from cnnc.backends.cuda import backend
from cnnc.backends.cuda.folder import emit_sources
from cnnc.backends.cuda.plan import Plan
from cnnc.backends.cuda.toolchain import Gpu, Nvcc
from cnnc.base.store import Store
from cnnc.compiled import Compiled

SHIM = Path(__file__).resolve().parents[2] / "templates" / "cuda" / "shim"
FLAGS = ("-std=c++17", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing")
"""Memory is read as whatever a kernel takes it for, as on a GPU."""
SANITIZE = ("-fsanitize=undefined", "-fno-sanitize-recover=undefined")
ORDERS = ("forward", "reverse", "shuffled:1")
Array = NDArray[np.generic]

_MEMORY = """
extern "C" void *test_malloc(size_t bytes)
{
    void *made = NULL;
    return cudaMalloc(&made, bytes) == cudaSuccess ? made : NULL;
}
extern "C" void test_free(void *memory)
{
    cudaFree(memory);
}
"""


def compile_nets(folder: Path, plans: Sequence[Plan], flags: Sequence[str] = ("-O1",)) -> Path:
    """One library of several networks, each in a namespace of its own."""
    lines = ["#include <cuda_runtime.h>", "#include <stdlib.h>", "#include <string.h>"]
    lines += ['#include "cnnc_math.h"', '#include "cnnc_prims.h"', _MEMORY]
    for plan in plans:
        for name, data in emit_sources(plan, "test", ()).items():
            (folder / name).write_bytes(data)
        name = plan.abi.name
        lines.append(f'namespace net_{name} {{\n#include "{name}.cu"\n}}\n#undef TRY')
    (folder / "all.cc").write_text("\n".join(lines))
    library = folder / "nets.so"
    command = ["g++", *FLAGS, *flags, f"-I{SHIM}", "-w", str(folder / "all.cc"), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


def compile_model(model: Model, target: str, folder: Path) -> Compiled:
    """A network as Python calls it, for a GPU that is none."""
    with pytest.MonkeyPatch.context() as patch:
        found = Nvcc(folder, ()), Gpu("shim", 90)
        patch.setattr(backend, "require", lambda: found)
        patch.setattr(backend, "build", _build)
        return model.compile(target=target)


def _build(
    nvcc: Nvcc, arch: int, files: Mapping[str, bytes], main: str, store: Store | None
) -> bytes:
    """What nvcc would do."""
    folder = nvcc.path
    for name, data in files.items():
        (folder / name).write_bytes(data)
    flags = [*FLAGS, "-O1", "-w", f"-I{SHIM}", "-x", "c++"]
    subprocess.run(["g++", *flags, main, "-o", "net.so"], check=True, cwd=folder)
    return (folder / "net.so").read_bytes()


class Library:
    """A compiled library, loaded into this process."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.test_malloc.restype = ctypes.c_void_p
        self._library.test_malloc.argtypes = [ctypes.c_size_t]
        self._library.test_free.argtypes = [ctypes.c_void_p]

    def function(self, name: str) -> "ctypes._FuncPointer":
        """A function of the interface."""
        return getattr(self._library, name)

    def device(self, bytes: int) -> int:
        """Memory of the GPU: it ends where a page begins that may not be touched."""
        return int(self._library.test_malloc(max(1, bytes)))

    def free(self, memory: int) -> None:
        """Give it back."""
        self._library.test_free(memory)


class Net:
    """A network of a library."""

    def __init__(self, library: Library, plan: Plan) -> None:
        self.library, self.plan, self.name = library, plan, plan.abi.name
        self.handle = ctypes.c_void_p()
        weights = plan.weights_file()
        status = self.call("create", weights.ctypes.data, weights.nbytes, handle=False)
        assert status == 0, self.text(status)

    def call(self, verb: str, *arguments: int, handle: bool = True) -> int:
        """A function of the interface."""
        function = self.library.function(f"{self.name}_{verb}")
        passed = [ctypes.c_void_p(each) for each in arguments]
        if handle:
            return int(function(self.handle, *passed))
        return int(function(*passed, ctypes.byref(self.handle)))

    def text(self, status: int) -> str:
        """What a status means."""
        function = self.library.function(f"{self.name}_strerror")
        function.restype = ctypes.c_char_p
        return str(function(status).decode())

    def run(self, inputs: Sequence[Array], order: str = "forward") -> list[Array]:
        """On tensors in the GPU's memory, each with a guard page; outputs start as NaN."""
        os.environ["CNNC_SHIM_ORDER"] = order
        abi, device = self.plan.abi, list[int]()
        samples = [] if abi.most_samples is None else [len(inputs[0])]
        shares = len(inputs[0]) / abi.most_samples if abi.most_samples else 1
        outputs = [
            np.empty((len(inputs[0]), *end.shape[1:]) if samples else end.shape, end.dtype.numpy)
            for end in abi.outputs
        ]
        assert 0 < shares <= 1
        for array in (*inputs, *outputs):
            device.append(self.library.device(-(-array.nbytes // 16) * 16))
        for array, at in zip(inputs, device, strict=False):
            ctypes.memmove(at, np.ascontiguousarray(array).ctypes.data, array.nbytes)
        status = self.call("run", *samples, *device, 0)
        assert status == 0, self.text(status)
        for array, at in zip(outputs, device[len(inputs) :], strict=True):
            ctypes.memmove(array.ctypes.data, at, array.nbytes)
        for at in device:
            self.library.free(at)
        return outputs

    def close(self) -> None:
        """Free its memory."""
        self.library.function(f"{self.name}_destroy")(self.handle)
