"""Finds nvcc and a GPU, and compiles libraries."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from cnnc.base.errors import Diagnostic, InternalError, UserError
from cnnc.base.record import record
from cnnc.base.store import Store

INSTALL = "install the CUDA toolkit, or `pip install 'cnnc[cuda]'`; then CUDA_HOME or PATH names it"
_MAJOR, _MINOR = 75, 76
"""Attributes of a device in cuda.h."""


@record
class Nvcc:
    """A compiler: its path, and flags that find its libraries."""

    path: Path
    flags: tuple[str, ...]

    @property
    def version(self) -> str:
        """What it says of itself."""
        return _version(self.path)


@record
class Gpu:
    """The first GPU: its name, and its compute capability × 10."""

    name: str
    arch: int


def find_nvcc(environment: Mapping[str, str] = os.environ) -> Nvcc | None:
    """The compiler of CUDA_HOME or CUDA_PATH, of PATH, or of NVIDIA's Python packages."""
    for name in ("CUDA_HOME", "CUDA_PATH"):
        home = environment.get(name)
        if home and (path := Path(home) / "bin" / "nvcc").is_file():
            return Nvcc(path, ())
    if found := shutil.which("nvcc", path=environment.get("PATH")):
        return Nvcc(Path(found), ())
    for folder in _wheels():
        path = folder / "bin" / "nvcc"
        if path.is_file():
            return Nvcc(path, ("-L", str(folder / "lib"), "-I", str(folder / "include")))
    return None


def find_gpu() -> Gpu | None:
    """The first GPU that the driver knows; None without one, or without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    device = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    name = ctypes.create_string_buffer(128)
    driver.cuDeviceGetName(name, len(name), device)
    found = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        found.append(value.value)
    return Gpu(name.value.decode(errors="replace"), 10 * found[0] + found[1])


def require() -> tuple[Nvcc, Gpu]:
    """Both; UserError that says which is missing."""
    nvcc, gpu = find_nvcc(), find_gpu()
    wrong = []
    if gpu is None:
        why = "there is no NVIDIA GPU here, or no driver for it"
        help = "`cnnc build --emit cuda` writes source for another machine"
        wrong.append(Diagnostic("E0802", why, help=help))
    if nvcc is None:
        wrong.append(Diagnostic("E0802", "there is no nvcc, which compiles CUDA", help=INSTALL))
    if nvcc is None or gpu is None:
        raise UserError(wrong)
    return nvcc, gpu


def build(
    nvcc: Nvcc, arch: int, files: Mapping[str, bytes], main: str, store: Store | None
) -> bytes:
    """A shared library of `main`, for one GPU; from the store where it has it."""
    flags = ("-O3", "-std=c++17", "--fmad=false", f"-arch=sm_{arch}", "-Xcompiler", "-fPIC")
    digest = sha256("\n".join([nvcc.version, *flags, main]).encode())
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    key = digest.hexdigest()
    found = store.get(key) if store else None
    if found is not None:
        return found
    with TemporaryDirectory(prefix="cnnc-") as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        command = [str(nvcc.path), *flags, *nvcc.flags, "-shared", "-o", "net.so", main]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise InternalError(f"nvcc refuses what was generated:\n{done.stderr}", stage="cuda")
        library = (Path(folder) / "net.so").read_bytes()
    if store:
        store.put(key, library)
    return library


def load_library(data: bytes) -> ctypes.CDLL:
    """A library that need not stay on disk."""
    with TemporaryDirectory(prefix="cnnc-") as folder:
        path = Path(folder) / "net.so"
        path.write_bytes(data)
        return ctypes.CDLL(str(path))


def _wheels() -> Iterator[Path]:
    """Where NVIDIA's packages put a toolkit."""
    for entry in sys.path:
        for name in ("cu13", "cuda_nvcc"):
            folder = Path(entry or ".") / "nvidia" / name
            if folder.is_dir():
                yield folder


@cache
def _version(path: Path) -> str:
    done = subprocess.run([str(path), "--version"], capture_output=True, text=True)
    return done.stdout
